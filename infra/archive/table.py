"""Records of the log as rows of Parquet, and back: every byte that a reader of Kafka sees, and nothing interpreted.

Kept are offset, time stamp, key, value and all headers in their order. How records were batched and compressed, and the
ends of transactions, are Kafka's own business and are not kept.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from infra.kafka.block import Block, split
from infra.kafka.fetch import Archived
from schemas.errors import Incompatible

SCHEMA = pa.schema(
    [
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("timestamp", pa.timestamp("ms", "UTC"), nullable=False),
        pa.field("key", pa.large_binary()),
        pa.field("value", pa.large_binary()),
        pa.field(
            "headers",
            pa.list_(pa.struct([pa.field("name", pa.string(), nullable=False), pa.field("value", pa.binary())])),
            nullable=False,
        ),
    ]
)

IN_ONE_BLOCK = 500
MAGIC, UNCOMPRESSED, NOBODY = 2, 0, -1
NO_LIMIT = 1 << 30


def table_of(rows: Iterable["Row"]) -> pa.Table:
    """Records as a table of `SCHEMA`."""
    offsets, stamps, keys, values, headers = zip(*rows, strict=True) if (rows := list(rows)) else ((),) * 5
    names = [name for one in headers for name, _ in one]
    held = [value for one in headers for _, value in one]
    ends = np.cumsum([0, *(len(one) for one in headers)], dtype=np.int32)
    pairs = pa.StructArray.from_arrays(
        [pa.array(names, pa.string()), pa.array(held, pa.binary())],
        fields=list(SCHEMA.field("headers").type.value_type),
    )
    return pa.table(
        [
            pa.array(offsets, pa.int64()),
            pa.array(stamps, pa.int64()).cast(pa.timestamp("ms", "UTC")),
            pa.array(keys, pa.large_binary()),
            pa.array(values, pa.large_binary()),
            pa.ListArray.from_arrays(pa.array(ends), pairs),
        ],
        schema=SCHEMA,
    )


Row = tuple[int, int, bytes | None, bytes | None, Sequence[tuple[str, bytes | None]]]
"""Offset, time stamp in milliseconds, key, value, headers."""


def rows_of(table: pa.Table) -> Iterator[Row]:
    """The records of a table, in order."""
    stamps = table["timestamp"].cast(pa.int64()).to_pylist()
    columns = (table["offset"].to_pylist(), stamps, table["key"].to_pylist(), table["value"].to_pylist())
    lists = _one(table["headers"])
    pairs = lists.flatten()
    headers = list(zip(pairs.field("name").to_pylist(), pairs.field("value").to_pylist(), strict=True))
    ends = np.cumsum(lists.value_lengths().to_numpy()).tolist()
    for offset, stamp, key, value, first, end in zip(*columns, [0, *ends[:-1]] if ends else [], ends, strict=True):
        yield offset, stamp, key, value, headers[first:end]


def _one(column: pa.ChunkedArray) -> pa.Array:
    """A column in one piece."""
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def blocks_of(table: pa.Table) -> Iterator[Block]:
    """The records in record batches, for whoever reads those."""
    rows = rows_of(table)
    while some := list(islice(rows, IN_ONE_BLOCK)):
        base = some[0][0]
        builder = DefaultRecordBatchBuilder(MAGIC, UNCOMPRESSED, False, NOBODY, NOBODY, NOBODY, NO_LIMIT)
        for offset, stamp, key, value, headers in some:
            builder.append(offset - base, stamp, key, value, list(headers))
        data = builder.build()
        data[:8] = base.to_bytes(8, "big")  # as a broker does when it appends; the checksum leaves it out
        yield from split(bytes(data))


class Unpacked(Archived):
    """The records of a table, as blocks for whoever wants blocks and as columns for whoever wants columns."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def frame(self, headers: Sequence[str]) -> pl.DataFrame:
        """As `frame_of`."""
        return frame_of(self._table, headers)

    @cached_property
    def _blocks(self) -> list[Block]:
        return list(blocks_of(self._table))

    def __getitem__(self, place: Any) -> Any:
        return self._blocks[place]

    def __len__(self) -> int:
        return len(self._blocks)


def frame_of(table: pa.Table, headers: Sequence[str]) -> pl.DataFrame:
    """The records with the columns of `infra.kafka.frame.of_blocks`, without an object for each.

    Raises:
        Incompatible: a header that is asked for is no text.
    """
    table = table.combine_chunks()
    rows = pl.DataFrame(
        {
            "offset": pl.Series(table["offset"]),
            "timestamp_ms": pl.Series(table["timestamp"].cast(pa.int64())),
            "key": _keys(table["key"]),
            "value": pl.Series(table["value"], dtype=pl.Binary),
        }
    )
    found = _Headers(table["headers"])
    return rows.with_columns(found.column(name).alias(name) for name in headers)


def _keys(column: pa.ChunkedArray) -> pl.Series:
    try:
        return pl.Series(column.cast(pa.large_string()), dtype=pl.String)
    except pa.ArrowInvalid:
        keys = [None if key is None else key.decode(errors="replace") for key in column.to_pylist()]
        return pl.Series(keys, dtype=pl.String)


class _Headers:
    """All headers of a table, one behind another."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        lists = _one(column)
        self._rows = len(lists)
        pairs = lists.flatten()
        names = pairs.field("name").dictionary_encode()
        self._names: list[str] = names.dictionary.to_pylist()
        self._codes = names.indices.to_numpy()
        self._values = pairs.field("value")
        self._owners = np.repeat(np.arange(self._rows), lists.value_lengths().to_numpy())

    def column(self, name: str) -> pl.Series:
        """The values of a header, the last one where a record has several; null where it has none."""
        if name not in self._names:
            return pl.Series([None] * self._rows, dtype=pl.String)
        places = np.flatnonzero(self._codes == self._names.index(name))
        places = places[self._values.is_valid().to_numpy(zero_copy_only=False)[places]]
        taken = np.full(self._rows, -1, np.int64)
        taken[self._owners[places]] = places
        values = pc.take(self._values, pa.array(taken, mask=taken < 0))
        try:
            return pl.Series(values.cast(pa.string()), dtype=pl.String)
        except pa.ArrowInvalid as fault:
            raise Incompatible(f"a record's header {name} is no text: {fault}", code="bad_headers") from fault
