"""What of a record is hashed, and the leaf hashes of whole record batches.

A leaf is 0x00, the offset and the time stamp (8 bytes each, big endian, milliseconds), then key, value and headers as
Kafka's record format writes them: each text behind its length, lengths and the number of headers as zigzag varints,
-1 for what is absent. None of it depends on how records were batched or compressed, so whoever has the fields (an
archive, a mirror that keeps offsets, a proof) comes to the same hash; and from a batch the bytes are taken as they are.

Source: Kafka protocol guide, Record (format 2); RFC 6962, section 2.1 for the prefix.
"""

import struct
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256

import numpy as np

from infra.kafka.block import Block
from infra.kafka.varint import lengths, numbers, varint
from schemas.errors import Incompatible

PLACE = np.dtype([("leaf", "u1"), ("offset", ">i8"), ("stamp", ">i8")])
ONE = struct.Struct(">Bqq")
"""The same for one record."""
LEAF = 0

size_of = lru_cache(maxsize=1 << 12)(varint)
"""A length as Kafka writes it; most are among few."""


@dataclass(slots=True)
class Leaves:
    """Offsets and leaf hashes of records of one partition, in the order of their offsets."""

    offsets: list[int] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.offsets)

    def extend(self, other: "Leaves") -> None:
        """Add what follows. In a log that was meddled with it may overlap what is there."""
        overlaps = bool(self.offsets and other.offsets and other.offsets[0] <= self.offsets[-1])
        self.offsets += other.offsets
        self.hashes += other.hashes
        if overlaps:
            order = sorted(range(len(self.offsets)), key=self.offsets.__getitem__)
            self.offsets = [self.offsets[place] for place in order]
            self.hashes = [self.hashes[place] for place in order]

    def since(self, first: int) -> "Leaves":
        """Those from an offset on."""
        at = bisect_left(self.offsets, first)
        return Leaves(self.offsets[at:], self.hashes[at:]) if at else self

    def before(self, end: int) -> "Leaves":
        """Those before an offset."""
        at = bisect_left(self.offsets, end)
        return Leaves(self.offsets[:at], self.hashes[:at]) if at < len(self.offsets) else self

    def upto(self, count: int) -> "Leaves":
        """The first so many."""
        return Leaves(self.offsets[:count], self.hashes[:count])


def leaf_of(
    offset: int,
    timestamp_ms: int,
    key: bytes | None,
    value: bytes | None,
    headers: Iterable[tuple[str, bytes | None]],
) -> bytes:
    """Leaf hash of a record of which the fields are at hand."""
    return sha256(ONE.pack(LEAF, offset, timestamp_ms) + content_of(key, value, headers)).digest()


def content_of(key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> bytes:
    """Key, value and headers as Kafka writes them."""
    pairs = list(headers)
    named = b"".join([_text(name.encode()) + _text(held) for name, held in pairs])
    return _text(key) + _text(value) + size_of(len(pairs)) + named


def leaves_of(blocks: Iterable[Block], first: int, end: int) -> Leaves:
    """Leaf hashes of the records of these blocks that stand from `first` on and before `end`.

    Raises:
        Incompatible: a block is not what its header says.
    """
    found = Leaves()
    for block in blocks:
        leaves = _leaves(block)
        found.extend(leaves.since(first).before(end))
    return found


def _leaves(block: Block) -> Leaves:
    """Lengths are followed one by one; what they lie between is read for all records at once, and hashed as it lies."""
    if not block.count:
        return Leaves()
    data = block.payload()
    try:
        octets = np.frombuffer(data, np.uint8)
        heads, ends = lengths(data, block.count)
        stamps, at = numbers(octets, heads + 1)  # behind the record's attributes, which this format does not use
        deltas, at = numbers(octets, at)
        if (at > ends).any():
            raise IndexError
    except IndexError as fault:
        raise Incompatible(f"the batch at offset {block.base_offset} ends within a record", code="bad_batch") from fault
    offsets = deltas + block.base_offset
    if offsets[0] < block.base_offset or offsets[-1] > block.last_offset or (np.diff(offsets) <= 0).any():
        raise Incompatible(f"the batch at offset {block.base_offset} holds offsets of others", code="bad_batch")
    places = np.empty(block.count, PLACE)
    places["leaf"] = LEAF
    places["offset"] = offsets
    places["stamp"] = block.max_timestamp_ms if block.stamped_by_broker else stamps + block.first_timestamp_ms
    prefix, size = places.tobytes(), PLACE.itemsize
    cuts = zip(range(0, len(prefix), size), at.tolist(), ends.tolist(), strict=True)
    hashes = [sha256(prefix[p : p + size] + data[first:end]).digest() for p, first, end in cuts]
    return Leaves(offsets.tolist(), hashes)


def _text(data: bytes | None) -> bytes:
    return size_of(-1) if data is None else size_of(len(data)) + data
