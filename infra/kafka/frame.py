"""Kafka records as columns, without an object per record.

Batches whose records carry the same headers are walked as a whole (`infra.kafka.walk`). Records that differ from their
neighbours, and those without key or value, are read one by one into the same columns.

Source: Kafka protocol guide, Record (format 2).
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, TypeAlias

import polars as pl
from aiokafka.record.default_records import DefaultRecordBatch

from infra.kafka.block import Block
from infra.kafka.records import Raw
from infra.kafka.varint import number
from infra.kafka.walk import walk
from schemas.errors import Incompatible

CONSTANT_HEADERS = frozenset({"content-type", "ce_specversion"})
"""Headers whose value is the same on every event, and is checked instead of read."""

Signature: TypeAlias = tuple[tuple[str, bytes | None], ...]
Row: TypeAlias = tuple[Any, ...]


def of_blocks(blocks: Iterable[Block], headers: Sequence[str]) -> pl.DataFrame:
    """The records of these blocks, one row each, in their order.

    Columns: `offset`, `timestamp_ms`, `key`, `value`, and one for each of `headers`, null where a record has none.

    Raises:
        Incompatible: a block is damaged, or holds a header that is no text.
    """
    filled = [(block, block.payload()) for block in blocks if block.count]
    groups = groupby(filled, key=lambda pair: signature(pair[1]))
    frames = [_group(list(group), names, headers) for names, group in groups]
    return pl.concat(frames) if frames else _of_rows((), headers)


def of_range(blocks: Iterable[Block], first: int, end: int, headers: Sequence[str]) -> pl.DataFrame:
    """As `of_blocks`, without the records before `first` and from `end` on: blocks may reach beyond what is wanted.

    Raises:
        Incompatible: as `of_blocks`.
    """
    return within(of_blocks(blocks, headers), first, end)


def within(rows: pl.DataFrame, first: int, end: int) -> pl.DataFrame:
    """The records from offset `first` on and before `end`."""
    return rows.filter(pl.col("offset").is_between(first, end, closed="left"))


def of_raws(raws: Iterable[Raw], headers: Sequence[str]) -> pl.DataFrame:
    """The same columns from records that a consumer has read."""
    rows = ((r.offset, r.timestamp_ms, r.key.encode(), r.value, r.headers) for r in raws)
    return _of_rows(rows, headers)


def signature(payload: bytes) -> Signature:
    """Headers of the first record in a batch: names, and the values of those that are constant."""
    _, at = number(payload, 0)
    at += 1
    for _ in range(2):
        _, at = number(payload, at)
    for _ in range(2):
        size, at = number(payload, at)
        at += max(size, 0)
    count, at = number(payload, at)
    found: list[tuple[str, bytes | None]] = []
    for _ in range(count):
        name, at = _text(payload, at)
        value, at = _text(payload, at)
        found.append((name.decode(), value if name.decode() in CONSTANT_HEADERS else None))
    return tuple(found)


def _text(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = number(data, at)
    size = max(size, 0)
    return data[at : at + size], at + size


def _group(pairs: Sequence[tuple[Block, bytes]], names: Signature, headers: Sequence[str]) -> pl.DataFrame:
    try:
        return _together(pairs, names, headers)
    except Incompatible:
        return _of_rows((row for block, _ in pairs for row in _one_by_one(block)), headers)


def _together(pairs: Sequence[tuple[Block, bytes]], names: Signature, headers: Sequence[str]) -> pl.DataFrame:
    """The blocks in one go.

    Raises:
        Incompatible: a record has other headers than the first, or no key or value.
    """
    varying = {name for name, value in names if value is None}
    if len(varying) != sum(value is None for _, value in names):
        raise Incompatible("a header stands there twice", code="mixed_headers")
    blocks = [block for block, _ in pairs]
    counts = [block.count for block in blocks]
    found = walk(b"".join(payload for _, payload in pairs), sum(counts), names, [n for n in headers if n in varying])
    bases = _repeat([block.base_offset for block in blocks], counts)
    stamps = _repeat([b.max_timestamp_ms if b.stamped_by_broker else b.first_timestamp_ms for b in blocks], counts)
    broker = _repeat([int(block.stamped_by_broker) for block in blocks], counts)
    return pl.DataFrame(
        [
            pl.Series("offset", found.offsets) + bases,
            (pl.Series("timestamp_ms", found.stamps) * (1 - broker) + stamps),
            found.text("key"),
            found.binary("value"),
        ]
    ).with_columns(found.text(n) if n in varying else pl.lit(None, pl.String).alias(n) for n in headers)


def _repeat(values: Sequence[int], counts: Sequence[int]) -> pl.Series:
    """Each value as often as its count says."""
    table = pl.DataFrame({"value": pl.Series(values, dtype=pl.Int64), "times": counts})
    return table.select(pl.col("value").repeat_by("times").explode()).to_series()


def _one_by_one(block: Block) -> Iterator[Row]:
    for record in DefaultRecordBatch(bytearray(block.data)):
        yield record.offset, record.timestamp, record.key, record.value, record.headers


def _of_rows(rows: Iterable[Row], headers: Sequence[str]) -> pl.DataFrame:
    table = list(rows)
    offsets, stamps, keys, values, given = ([row[i] for row in table] for i in range(5))
    dicts = [_texts(one) for one in given]
    return pl.DataFrame(
        {
            "offset": pl.Series(offsets, dtype=pl.Int64),
            "timestamp_ms": pl.Series(stamps, dtype=pl.Int64),
            "key": pl.Series([None if key is None else key.decode(errors="replace") for key in keys], dtype=pl.String),
            "value": pl.Series(values, dtype=pl.Binary),
            **{name: pl.Series([texts.get(name) for texts in dicts], dtype=pl.String) for name in headers},
        }
    )


def _texts(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    try:
        return {name: value.decode() for name, value in headers if value is not None}
    except UnicodeDecodeError as fault:
        raise Incompatible(f"a record's header is no text: {fault}", code="bad_headers") from fault
