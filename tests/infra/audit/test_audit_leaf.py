"""What of a record is hashed: the same whoever comes to it, by whatever way."""

import struct
from hashlib import sha256
from typing import TypeAlias

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from infra.audit.leaf import Leaves, leaf_of, leaves_of
from infra.audit.leafstore import packed, unpacked
from infra.audit.merkle import EMPTY, parent, path, root
from infra.kafka.block import Block, split
from schemas.errors import Incompatible

TEXTS = st.none() | st.binary(max_size=300)
HEADERS = st.lists(st.tuples(st.text(max_size=12), st.none() | st.binary(max_size=90)), max_size=4)
RECORDS = st.lists(st.tuples(st.integers(0, 10_000_000), TEXTS, TEXTS, HEADERS), min_size=1, max_size=20)
Fields: TypeAlias = tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]
CODECS = st.sampled_from([0, 1, 3])


def batch(records: list[Fields], codec: int) -> Block:
    """A record batch from offset 5000 on, as a producer of aiokafka makes it."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 22,
    )
    for number, (stamp, key, value, headers) in enumerate(records):
        builder.append(number, stamp, key, value, headers)
    data = bytearray(builder.build())
    struct.pack_into(">q", data, 0, 5000)
    (block,) = split(bytes(data))
    return block


@given(RECORDS, CODECS)
def test_a_leaf_depends_on_the_record_alone(records: list[Fields], codec: int) -> None:
    """An archive, a proof and a batch of any compression come to one hash, or they would contradict each other."""
    leaves = leaves_of([batch(records, codec)], 0, 10_000)
    assert leaves.offsets == list(range(5000, 5000 + len(records)))
    assert leaves.hashes == [
        leaf_of(offset, stamp, key, value, headers)
        for offset, (stamp, key, value, headers) in enumerate(records, start=5000)
    ]


def test_a_leaf_is_what_the_documentation_says() -> None:
    """Others compute it from the description."""
    expected = b"\x00" + (7).to_bytes(8, "big") + (1000).to_bytes(8, "big")
    expected += b"\x06ana" + b"\x01" + b"\x02" + b"\x02h" + b"\x04ok"
    assert leaf_of(7, 1000, b"ana", None, [("h", b"ok")]) == sha256(expected).digest()


def test_only_what_lies_in_the_range_is_hashed() -> None:
    """Batches reach beyond the ranges that are asked for."""
    block = batch([(1, b"k", b"v", [])] * 10, 0)
    assert leaves_of([block], 5003, 5006).offsets == [5003, 5004, 5005]


def test_a_batch_that_holds_the_offsets_of_others_is_refused() -> None:
    """A record that claims another place would be delivered there by some readers and not by others."""
    data = bytearray(batch([(1, b"k", b"v", [])] * 3, 0).data)
    block = batch([(1, b"k", b"v", [])] * 3, 0)
    lying = Block(bytes(data), block.base_offset, block.base_offset + 1, 0, 1, 1, -1, 3)
    with pytest.raises(Incompatible, match="offsets of others"):
        leaves_of([lying], 0, 10_000)


@given(RECORDS, st.integers(62, 400))
def test_a_batch_that_is_cut_short_is_no_batch(records: list[Fields], size: int) -> None:
    """Whatever bytes a broker gives, the fault is told and nothing else breaks."""
    block = batch(records, 0)
    cut = Block(block.data[: min(size, len(block.data) - 1)], 5000, 5019, 0, 1, 1, -1, block.count)
    with pytest.raises(Incompatible):
        leaves_of([cut], 0, 10_000)


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=70), st.data())
def test_the_tree_is_that_of_rfc_6962(hashes: list[bytes], data: st.DataObject) -> None:
    """Third parties verify proofs with their own code."""
    assert root(hashes) == _reference(hashes)
    if hashes:
        index = data.draw(st.integers(0, len(hashes) - 1))
        assert path(hashes, index) == _reference_path(index, hashes)


def _reference(hashes: list[bytes]) -> bytes:
    """The definition: split at the largest power of two below the size."""
    if len(hashes) < 2:
        return hashes[0] if hashes else EMPTY
    at = 1 << (len(hashes) - 1).bit_length() - 1
    return parent(_reference(hashes[:at]), _reference(hashes[at:]))


def _reference_path(index: int, hashes: list[bytes]) -> list[bytes]:
    if len(hashes) == 1:
        return []
    at = 1 << (len(hashes) - 1).bit_length() - 1
    if index < at:
        return [*_reference_path(index, hashes[:at]), _reference(hashes[at:])]
    return [*_reference_path(index - at, hashes[at:]), _reference(hashes[:at])]


@given(st.sets(st.integers(0, 2**62), max_size=50))
def test_the_leaves_of_a_range_come_back_from_their_file(offsets: set[int]) -> None:
    """A record is named by what the file says stood there."""
    leaves = Leaves(sorted(offsets), [sha256(str(offset).encode()).digest() for offset in sorted(offsets)])
    assert unpacked(packed(leaves)) == leaves


@given(st.integers(0, 60))
def test_a_file_that_is_cut_short_is_none(size: int) -> None:
    """Half a file must not name the other half as missing."""
    whole = packed(Leaves([1, 2, 5], [b"x" * 32] * 3))
    with pytest.raises(Incompatible):
        unpacked(whole[: min(size, len(whole) - 1)])
