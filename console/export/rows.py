"""Events as bytes that can be appended to: an Arrow stream, or JSON lines. Both stand in the order of the log."""

from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from typing import Any, Protocol

import orjson
import polars as pl
import pyarrow as pa

from infra.kafka.columns import META, schema_of
from infra.kafka.replay import Tables
from schemas.contracts import contracts

END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"
TYPE = "_type"


class Encoder(Protocol):
    """Makes bytes of pieces of the log."""

    def begin(self) -> bytes:
        """What stands before all pieces."""

    def encode(self, tables: Tables) -> bytes:
        """One piece."""

    def end(self) -> bytes:
        """What stands behind them."""


class JsonLines:
    """One object a line: `type`, `position`, `key`, what else stands around the event, then `data`."""

    def begin(self) -> bytes:
        """Nothing."""
        return b""

    def encode(self, tables: Tables) -> bytes:
        """One line for each event."""
        ordered = merge(*(_lines(name, table) for name, table in tables.items()), key=lambda line: line[0])
        return b"".join(line for _, line in ordered)

    def end(self) -> bytes:
        """Nothing."""
        return b""


def _lines(name: str, table: pl.DataFrame) -> Iterator[tuple[int, bytes]]:
    around = {field: field.removeprefix("_") for field in META[4:]}
    for row in table.iter_rows(named=True):
        position = f"{row['_topic']}/{row['_partition']}/{row['_offset']}"
        line = {"type": name, "position": position, "key": row["_key"]}
        line |= {title: row[field] for field, title in around.items() if row[field] is not None}
        line["data"] = {field: value for field, value in row.items() if field not in META}
        yield row["_offset"], orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z)


class ArrowStream:
    """Arrow's IPC stream. Of one type: its fields are columns. Of several: each type is a column of records.

    Args:
        types: full names of all that can come.

    Source: Arrow Columnar Format 1.5, IPC Streaming Format.
    """

    def __init__(self, types: Sequence[str]) -> None:
        self._columns: Mapping[str, str] = {} if len(types) == 1 else titles(types)
        self._empty = pl.DataFrame(schema=self._schema(types))

    def begin(self) -> bytes:
        """The schema."""
        return bytes(self._empty.to_arrow().schema.serialize())

    def encode(self, tables: Tables) -> bytes:
        """A record batch; nothing when there are no events."""
        if not tables:
            return b""
        shaped = [self._shaped(name, table) for name, table in tables.items()]
        joined = pl.concat([self._empty, *shaped], how="diagonal").sort("_offset", maintain_order=True)
        batches: list[pa.RecordBatch] = joined.rechunk().to_arrow().to_batches()
        return b"".join(bytes(batch.serialize()) for batch in batches)

    def end(self) -> bytes:
        """The mark that nothing follows."""
        return END_OF_STREAM

    def _schema(self, types: Sequence[str]) -> dict[str, Any]:
        if not self._columns:
            return dict(schema_of(types[0]))
        meta = {name: kind for name, kind in schema_of(types[0]).items() if name in META}
        return {TYPE: pl.String(), **meta, **{self._columns[name]: pl.Struct(fields_of(name)) for name in types}}

    def _shaped(self, name: str, table: pl.DataFrame) -> pl.DataFrame:
        if not self._columns:
            return table
        data = pl.struct(pl.exclude(META)).alias(self._columns[name])
        return table.select(pl.lit(name).alias(TYPE), *META, data)


def fields_of(name: str) -> dict[str, pl.DataType]:
    """Columns of a type's own fields."""
    return {field: kind for field, kind in schema_of(name).items() if field not in META}


def titles(types: Sequence[str]) -> dict[str, str]:
    """Short names of types by their full ones."""
    return {name: contracts()[name].name for name in types}
