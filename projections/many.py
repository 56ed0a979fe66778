"""Many events, as columns: the way of a rebuild and of catching up, where a batch holds tens of thousands.

Texts, numbers, times and truth values go from the log to the staged batch without an object per event. Types with
lists or maps in a column that a view wants take the way of `few`, so that what they mean is said once.
"""

import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

import polars as pl

from infra.kafka.columns import client_chosen, events, raw
from infra.kafka.records import Decoder, Raw
from projections.batch import Staged
from projections.few import Few
from projections.staging import META, Column, columns
from projections.view import View
from schemas.codec import Codec
from schemas.contracts import contracts
from schemas.envelope import NAMES, Meta, Recorded
from schemas.errors import Incompatible
from schemas.topics import Topic

HEADERS: Mapping[str, str] = {name: f"_{name}" for name in NAMES}
"""Many that the tables get from headers."""

META_COLUMNS: Mapping[str, str] = {
    "event_id": "_ce_id",
    "key": "_ce_subject",
    "time": "_ce_time",
    "actor": "_actor",
    "tenant": "_tenant",
    "correlation_id": "_correlationid",
    "causation_id": "_causationid",
    "command_offset": "_commandoffset",
    "fingerprint": "_fingerprint",
    "topic": "_topic",
    "partition": "_partition",
    "offset": "_offset",
}
"""Where the columns that `staging.META` knows stand in a table."""

DEFAULTS = {field.name: field.default for field in fields(Meta) if isinstance(field.default, str)}
"""What `Meta.of` reads where a header is missing."""

PLACE = ("_partition", "_offset")


@dataclass(frozen=True)
class Many:
    """Events of one topic as tables; see `batch.Held`.

    Attributes:
        topic: declaration of the topic.
        frame: the records: `_partition`, `_offset`, `_timestamp_ms`, `_key`, `_value` and the headers.
        tables: their events by type, as `infra.kafka.columns` has them; what stands in both is called alike.
        decoder: has learnt the schemas of all of them.
    """

    topic: Topic
    frame: pl.DataFrame
    tables: Mapping[str, pl.DataFrame]
    decoder: Decoder

    def __len__(self) -> int:
        """See `Held`."""
        return len(self.frame)

    def within(self, first: Mapping[int, int], ends: Mapping[int, int]) -> "Many":
        """See `Held`."""
        return self._where(_between(first, ends))

    def of_keys(self, keys: Collection[str]) -> "Many":
        """See `Held`."""
        return self._where(_one_of(keys))

    def without_keys(self, keys: Collection[str]) -> "Many":
        """See `Held`."""
        return self._where(~_one_of(keys))

    def without_places(self, places: Collection[tuple[int, int]]) -> "Many":
        """See `Held`."""
        return self._where(~_at(places))

    def places(self) -> list[tuple[int, int]]:
        """See `Held`."""
        return list(self.frame.select(*PLACE).iter_rows())

    def raws(self) -> list[Raw]:
        """See `Held`."""
        return self._raws(self.frame)

    def recorded(self, types: Collection[type[Any]]) -> list[Recorded]:
        """See `Held`."""
        names = [event.AVRO for event in types if event.AVRO in self.tables]
        if not names:
            return []
        places = pl.concat([self.tables[name].select(*PLACE) for name in names])
        wanted = self.frame.join(places, on=PLACE, how="semi", maintain_order="left")
        return [event for raw in self._raws(wanted) if (event := self.decoder.decode(raw)) is not None]

    def staged(self, view: View) -> Staged:
        """See `Held`."""
        wanted = {event: self.tables[event.AVRO] for event in view.reads if event.AVRO in self.tables}
        flat = {event: table for event, table in wanted.items() if is_flat(view, table)}
        nested = [event for event in wanted if event not in flat]
        rest = Few(self.recorded(nested), ()).staged(view) if nested else Staged()
        lines = [_csv(view, event, table) for event, table in flat.items() if len(table)]
        repeats = rest.repeats or any(_chosen(table) for table in flat.values())
        return Staged(rows=rest.rows, lines=lines, repeats=repeats)

    def _where(self, holds: pl.Expr) -> "Many":
        tables = {name: table.filter(holds) for name, table in self.tables.items()}
        return Many(self.topic, self.frame.filter(holds), tables, self.decoder)

    def _raws(self, frame: pl.DataFrame) -> list[Raw]:
        rows = frame.select(*PLACE, "_timestamp_ms", "_key", "_value", *HEADERS.values()).iter_rows()
        return [raw(self.topic, partition, row) for partition, *row in rows]


def tables_of(frames: Mapping[int, pl.DataFrame], topic: Topic, codec: Codec) -> dict[str, pl.DataFrame]:
    """The events of these records, by partition, as tables by type.

    Raises:
        Incompatible: a record cannot be read.
    """
    found: dict[str, list[pl.DataFrame]] = {}
    for partition, frame in frames.items():
        for name, table in events(frame, topic, partition, codec, headers=HEADERS).items():
            found.setdefault(name, []).append(table)
    return {name: pl.concat(tables) for name, tables in found.items()}


def is_flat(view: View, table: pl.DataFrame) -> bool:
    """Whether every column that a view wants of this table is a plain value."""
    wanted = {column.name for column in columns(view)} & set(table.columns)
    return not any(table.schema[name].is_nested() or table.schema[name] == pl.Binary for name in wanted)


def _csv(view: View, event: type[Any], table: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    rows = table.select(_cell(column, event).alias(column.name) for column in columns(view))
    rows.write_csv(buffer, include_header=False, quote_style="non_numeric", null_value="")
    return buffer.getvalue()


def _cell(column: Column, event: type[Any]) -> pl.Expr:
    if column.name == "event":
        return pl.lit(event.__name__)
    if column.name == "event_type":
        return pl.lit(event.AVRO)
    if column.name in META:
        cell = pl.col(META_COLUMNS[column.name])
        return cell.fill_null(DEFAULTS[column.name]) if column.name in DEFAULTS else cell
    if column.name in {field["name"] for field in contracts()[event.AVRO].schema["fields"]}:
        return pl.col(column.name)
    return pl.lit(None, pl.String)


def _chosen(table: pl.DataFrame) -> bool:
    """Whether a client chose the id of one of them."""
    found: bool | None = table.select((client_chosen(pl.col("_ce_id"))).any()).item()
    return bool(found)


_SOUND = pl.all_horizontal(
    pl.col("_ce_id").str.contains("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$").fill_null(False).all(),
    *(pl.col(f"_{name}").is_not_null().all() for name in ("ce_type", "ce_source", "ce_subject", "ce_time")),
)
"""Whether the headers that every event has are there. Others make a dead letter, which `few` sees to."""


def _between(first: Mapping[int, int], ends: Mapping[int, int]) -> pl.Expr:
    partition, offset = map(pl.col, PLACE)
    spans = [(partition == p) & (offset >= first.get(p, 0)) & (offset < end) for p, end in ends.items()]
    return pl.any_horizontal(spans) if spans else pl.lit(False)


def _at(places: Collection[tuple[int, int]]) -> pl.Expr:
    partition, offset = map(pl.col, PLACE)
    spots = [(partition == p) & (offset == o) for p, o in places]
    return pl.any_horizontal(spots) if spots else pl.lit(False)


def _one_of(keys: Collection[str]) -> pl.Expr:
    return pl.col("_ce_subject").is_in(list(keys))


def held(frames: Mapping[int, pl.DataFrame], topic: Topic, decoder: Decoder) -> Many:
    """The events of these records, by partition; the records count and are the tenant's.

    Raises:
        Incompatible: a record cannot be read.
    """
    try:
        tables = tables_of(frames, topic, decoder.codec)
    except pl.exceptions.PolarsError as fault:
        raise Incompatible(f"a header cannot be read: {fault}", code="bad_headers") from fault
    if not all(table.select(_SOUND).item() for table in tables.values()):
        raise Incompatible("a record's headers are not those of a Retrace event", code="bad_headers")
    placed = [
        frame.select(pl.all().name.prefix("_"), pl.lit(partition, pl.Int32).alias("_partition"))
        for partition, frame in frames.items()
    ]
    return Many(topic, pl.concat(placed), tables, decoder)
