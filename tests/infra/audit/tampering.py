"""Editing a stopped broker's segment files, so that it serves them as if nothing had happened."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from infra.kafka.block import HEADER, LOG_OVERHEAD

CRC_AT, ATTRIBUTES_AT = 17, 21


@dataclass(frozen=True)
class Record:
    """A record as it is in a segment."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


Edit = Callable[[list[Record]], list[Record]]


def edit(folder: Path, offset: int, change: Edit) -> None:
    """Change the batch of a partition that holds an offset; none is left when `change` gives no records.

    The check sum is made anew and the indices are removed, so that the broker builds them again.
    """
    (segment,) = folder.glob("*.log")
    out = b""
    for batch in batches(segment.read_bytes()):
        records = records_of(batch)
        held = any(record.offset == offset for record in records)
        out += rebuilt(batch, change(records)) if held else batch
    put(segment, out)


def put(segment: Path, data: bytes) -> None:
    """Write a segment and forget what was derived from it."""
    segment.write_bytes(data)
    for derived in (*segment.parent.glob("*.index"), *segment.parent.glob("*.timeindex")):
        derived.unlink()
    for state in segment.parent.glob("*.snapshot"):
        state.unlink()


def batches(data: bytes) -> list[bytes]:
    """The batches of a segment."""
    found, at = [], 0
    while at + HEADER.size <= len(data):
        end = at + LOG_OVERHEAD + int(HEADER.unpack_from(data, at)[1])
        found.append(data[at:end])
        at = end
    return found


def records_of(batch: bytes) -> list[Record]:
    """The records of a batch."""
    return [Record(r.offset, r.timestamp, r.key, r.value, r.headers) for r in DefaultRecordBatch(bytearray(batch))]


def rebuilt(batch: bytes, records: Sequence[Record]) -> bytes:
    """A batch of these records that looks like the one it replaces: same producer and compression."""
    if not records:
        return b""
    base, _, epoch, _, _, attributes, _, _, _, producer, producer_epoch, sequence, _ = HEADER.unpack_from(batch)
    first = min(base, records[0].offset)
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=attributes & 7,
        is_transactional=0,
        producer_id=producer,
        producer_epoch=producer_epoch,
        base_sequence=sequence,
        batch_size=1 << 22,
    )
    for record in records:
        builder.append(record.offset - first, record.timestamp, record.key, record.value, list(record.headers))
    data = bytearray(builder.build())
    struct.pack_into(">q", data, 0, first)
    struct.pack_into(">i", data, 12, epoch)
    return seal(data)


def seal(data: bytearray) -> bytes:
    """The batch with the check sum that its bytes have."""
    struct.pack_into(">I", data, CRC_AT, calc_crc32c(bytes(data[ATTRIBUTES_AT:])))
    return bytes(data)


def changed(offset: int, value: bytes) -> Edit:
    """Give one record another value."""
    return lambda records: [replace(r, value=value) if r.offset == offset else r for r in records]


def removed(offset: int) -> Edit:
    """Leave one record out."""
    return lambda records: [record for record in records if record.offset != offset]


def inserted(offset: int, value: bytes) -> Edit:
    """Put a record after one; what follows moves up by an offset."""

    def change(records: list[Record]) -> list[Record]:
        place = next(i for i, record in enumerate(records) if record.offset == offset) + 1
        new = replace(records[place - 1], offset=offset + 1, value=value)
        return [*records[:place], new, *(replace(r, offset=r.offset + 1) for r in records[place:])]

    return change
