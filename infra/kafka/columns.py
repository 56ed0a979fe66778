"""Events as columns: one table for each type of event, the same values that decoding one by one gives.

Bytes of today's schemas go through a native reader; those of older schemas through the codec, so that Avro's resolution
and the upcasting hold here as everywhere.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from infra.kafka.container import read
from infra.kafka.records import Raw
from schemas.codec import FRAME, Codec, schema_id_of
from schemas.contracts import contracts
from schemas.envelope import CONSTANT, DEFAULT_TENANT, NAMES
from schemas.errors import Incompatible
from schemas.identity import CLIENT_CHOSEN, VERSION_AT
from schemas.topics import Topic

META_HEADERS: Mapping[str, str] = {
    "ce_id": "_id",
    "ce_time": "_time",
    "actor": "_actor",
    "tenant": "_tenant",
    "correlationid": "_correlation_id",
    "causationid": "_causation_id",
}
"""Headers that become columns of every table. `_time` is a time, UTC; the others are texts."""

EXPECTED = "expectedoffset"
HEADERS = (*META_HEADERS, EXPECTED)
"""What to ask of `infra.kafka.frame` for the functions here."""

META = ("_topic", "_partition", "_offset", "_key", "_timestamp", "_schema_id", *META_HEADERS.values())
"""Columns that every table has beside the fields of its event.

`_timestamp` is the broker's or producer's, UTC; `_schema_id` is the writer's.
"""

META_SCHEMA: Mapping[str, pl.DataType] = {
    "_topic": pl.String(),
    "_partition": pl.Int32(),
    "_offset": pl.Int64(),
    "_key": pl.String(),
    "_timestamp": pl.Datetime("ms", "UTC"),
    "_schema_id": pl.Int64(),
    **{name: pl.Datetime("us", "UTC") if name == "_time" else pl.String() for name in META_HEADERS.values()},
}

SENTINEL = b"\xffend!"


def counting(frame: pl.DataFrame, topic: Topic) -> pl.DataFrame:
    """The records that count: the rule of the offset-checked append, for columns."""
    if not topic.is_decided:
        return frame
    return frame.filter(pl.col(EXPECTED) == pl.col("offset").cast(pl.String))


def of_tenant(frame: pl.DataFrame, tenant: str) -> pl.DataFrame:
    """The records of one tenant: those of others are no more there than void ones."""
    return frame.filter(pl.col("tenant").fill_null(DEFAULT_TENANT) == tenant)


def client_chosen(ids: pl.Expr) -> pl.Expr:
    """Whether clients chose these ids: only such an event can come twice."""
    return ids.str.slice(VERSION_AT, 1) == str(CLIENT_CHOSEN)


def raw(topic: Topic, partition: int, row: Sequence[Any]) -> Raw:
    """A record again, of its offset, stamp, key, value and the headers of `NAMES`; those of others are lost."""
    offset, stamp, key, value, *texts = row
    ours = [(name, text.encode()) for name, text in zip(NAMES, texts, strict=True) if text is not None]
    return Raw(topic, partition, offset, key or "", value, [*CONSTANT, *ours], stamp)


def schema_ids(frame: pl.DataFrame) -> set[int]:
    """Schema ids that the values name.

    Raises:
        Incompatible: a value is missing or has no framing.
    """
    frames = frame.select(pl.col("value").bin.slice(0, FRAME.size).unique()).to_series()
    return {schema_id_of(head) for head in frames}


def events(
    frame: pl.DataFrame,
    topic: Topic,
    partition: int,
    codec: Codec,
    types: Collection[str] | None = None,
    headers: Mapping[str, str] = META_HEADERS,
) -> dict[str, pl.DataFrame]:
    """The events of these records by type, as the type is called today; rows in the order of the log.

    Args:
        frame: records of one partition that count, in log order, with the columns of `HEADERS`.
        codec: knows every schema among them.
        types: full names wanted, as they are called today; None for all.
        headers: columns of the tables by the header that they are of.

    Raises:
        Incompatible: a record cannot be read; the message names its position.
    """
    found: dict[str, list[pl.DataFrame]] = {}
    for (head,), rows in frame.group_by(pl.col("value").bin.slice(0, FRAME.size), maintain_order=True):
        for name, table in _decoded(head, rows, Where(topic, partition, headers), codec, types):
            found.setdefault(name, []).append(table)
    return {name: _joined(tables) for name, tables in sorted(found.items())}


class Where:
    """The partition that records are from, and the columns that their headers become."""

    def __init__(self, topic: Topic, partition: int, headers: Mapping[str, str]) -> None:
        self.topic, self.partition, self.headers = topic, partition, headers

    def of(self, offset: int) -> str:
        """A position as people write it."""
        return f"{self.topic.name}/{self.partition}/{offset}"


def _decoded(
    head: Any, rows: pl.DataFrame, where: Where, codec: Codec, types: Collection[str] | None
) -> Iterable[tuple[str, pl.DataFrame]]:
    try:
        name = codec.current(schema_id_of(head))
    except Incompatible as fault:
        raise Incompatible(f"{where.of(rows['offset'][0])}: {fault}", code=fault.code) from fault
    if name is None:
        yield from _one_by_one(rows, where, codec, types)
    elif types is None or name in types:
        try:
            fields = together(head, rows["value"], name)
        except Incompatible:
            yield from _one_by_one(rows, where, codec, types)
        else:
            yield name, pl.concat([meta(rows, where), fields], how="horizontal")


def together(head: bytes, values: pl.Series, name: str) -> pl.DataFrame:
    """The values of one of today's schemas in one go.

    Each value begins with the same five bytes, which are read as a field. A last one with other bytes there tells that
    every value ended where the next began; otherwise one that is too long could shift all that follow, unnoticed.

    Raises:
        Incompatible: some value does not fit the schema.
    """
    data = joined_bytes(values)
    first = values[0][FRAME.size :]
    schema = contracts()[name].schema
    guard = {"name": "_head", "type": {"type": "fixed", "name": "HeadOfValue", "size": FRAME.size}}
    table = read({**schema, "fields": [guard, *schema["fields"]]}, len(values) + 1, data + SENTINEL + first)
    heads = table["_head"]
    if heads[-1] != SENTINEL or not table[:-1].select((pl.col("_head") == pl.lit(head)).all()).item():
        raise Incompatible("a value is longer or shorter than its schema", code="bad_bytes")
    return table[:-1].drop("_head")


def joined_bytes(values: pl.Series) -> bytes:
    """All values one after another."""
    array = values.rechunk().to_arrow()
    _, ends, data = array.buffers()
    first, last = (
        int.from_bytes(ends[8 * i : 8 * i + 8].to_pybytes(), "little")
        for i in (array.offset, array.offset + len(array))
    )
    joined: bytes = data[first:last].to_pybytes()
    return joined


def _one_by_one(
    rows: pl.DataFrame, where: Where, codec: Codec, types: Collection[str] | None
) -> Iterable[tuple[str, pl.DataFrame]]:
    decoded: dict[str, tuple[list[int], list[dict[str, Any]]]] = {}
    for place, (offset, value) in enumerate(zip(rows["offset"], rows["value"], strict=True)):
        try:
            name, fields = codec.decode_fields(value)
        except Incompatible as fault:
            raise Incompatible(f"{where.of(offset)}: {fault}", code=fault.code) from fault
        if types is None or name in types:
            places, found = decoded.setdefault(name, ([], []))
            places.append(place)
            found.append(fields)
    for name, (places, found) in decoded.items():
        yield name, pl.concat([meta(rows[places], where), table_of(name, found)], how="horizontal")


def table_of(name: str, rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Records given by their fields, with the columns that the native reader gives to this type."""
    schema = read(contracts()[name].schema, 0, b"").schema
    columns = {column: [_as_list(row[column]) for row in rows] for column in schema} if rows else {}
    return pl.DataFrame(columns, schema=schema)


def schema_of(name: str) -> dict[str, pl.DataType]:
    """Columns of the tables of a type, `META` first."""
    return {**META_SCHEMA, **table_of(name, ()).schema}


def _as_list(value: Any) -> Any:
    """Maps as the native reader gives them: a list of keys with values."""
    if isinstance(value, dict):
        return [{"key": key, "value": held} for key, held in value.items()]
    return value


def meta(rows: pl.DataFrame, where: Where) -> pl.DataFrame:
    """The columns `META` of these records, which name the same schema."""
    named = {name: pl.col(header) for header, name in where.headers.items()}
    if (time := where.headers.get("ce_time")) is not None:
        named[time] = named[time].str.to_datetime("%+", time_unit="us", time_zone="UTC")
    return rows.select(
        pl.lit(where.topic.name).alias("_topic"),
        pl.lit(where.partition, pl.Int32).alias("_partition"),
        pl.col("offset").alias("_offset"),
        pl.col("key").alias("_key"),
        pl.col("timestamp_ms").cast(pl.Datetime("ms", "UTC")).alias("_timestamp"),
        pl.lit(schema_id_of(rows["value"][0]), pl.Int64).alias("_schema_id"),
        *(column.alias(name) for name, column in named.items()),
    )


def _joined(tables: list[pl.DataFrame]) -> pl.DataFrame:
    return tables[0] if len(tables) == 1 else pl.concat(tables).sort("_offset")
