"""What features are folded from: the events of the log as narrow tables on disk, each with when it became known.

An event is known from the moment when the log took it in: the latest stamp of its partition up to it, so that what
stands later in a partition is never known earlier, whatever a clock did.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from inference.datasets.sieve import Firsts
from inference.feature import Source
from infra.kafka.records import Decoder
from infra.kafka.replay import Tables, replay
from infra.settings import Settings
from schemas.catalog import ItemAdded, ItemChanged, ItemRetired
from schemas.interactions import InteractionRecorded
from schemas.models import OffsetRange
from schemas.profiles import ConsentGiven, ConsentWithdrawn, PreferencesChanged, UserRegistered

PLACE: Mapping[str, Any] = {"_partition": pl.Int32, "_offset": pl.Int64, "stamp": pl.Int64}
"""Where an event stands, and when it became known, in milliseconds since 1970."""

FIELDS: Mapping[str, Mapping[str, Any]] = {
    "interactions": {
        "user_id": pl.String,
        "item_id": pl.String,
        "kind": pl.String,
        "value": pl.Float64,
        "occurred": pl.Int64,
        "counted": pl.Boolean,
    },
    "profiles": {
        "user_id": pl.String,
        "type": pl.String,
        "favourite_categories": pl.List(pl.String),
        "hidden_categories": pl.List(pl.String),
        "language": pl.String,
        "purpose": pl.String,
    },
    "catalog": {"item_id": pl.String, "type": pl.String, "title": pl.String, "categories": pl.List(pl.String)},
}
"""What is kept of the events of each topic; `occurred` in microseconds since 1970, `counted` tells those of use."""

TYPES: Mapping[str, Collection[str]] = {
    "interactions": {InteractionRecorded.AVRO},
    "profiles": {ConsentGiven.AVRO, ConsentWithdrawn.AVRO, PreferencesChanged.AVRO, UserRegistered.AVRO},
    "catalog": {ItemAdded.AVRO, ItemChanged.AVRO, ItemRetired.AVRO},
}


@dataclass(frozen=True)
class Context:
    """Tables of events, one for each topic, in the order of the log; columns as `PLACE` and `FIELDS` have them."""

    tables: Mapping[str, pl.LazyFrame]

    def events(self, source: Source) -> pl.LazyFrame:
        """The events that a feature of this source folds."""
        table = self.tables[source.topic]
        return table.filter("counted") if source.topic == "interactions" else table

    def stamps(self) -> pl.DataFrame:
        """When each interaction became known."""
        return self.tables["interactions"].select(*PLACE).collect()


class Narrowing:
    """Keeps of the events of one topic what features fold, and tells when each became known.

    Args:
        unused: users whose interactions count for nothing.
        silent: kinds that count for nothing.
    """

    def __init__(self, topic: str, unused: Collection[str] = (), silent: Collection[str] = ()) -> None:
        self._topic = topic
        self._unused, self._silent = sorted(unused), sorted(silent)
        self._firsts = Firsts()
        self._stamps: dict[int, int] = {}

    @property
    def schema(self) -> dict[str, Any]:
        """The columns that are kept."""
        return {**PLACE, **FIELDS[self._topic]}

    def of(self, tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        """The next events, by type as a replay gives them, all of one partition; in log order."""
        both = pl.concat([self._of_type(name, table) for name, table in tables.items()]).sort("_offset")
        partition = both["_partition"][0]
        before = self._stamps.get(partition, 0)
        known = both.with_columns(stamp=pl.max_horizontal(pl.col("stamp").cum_max(), pl.lit(before, pl.Int64)))
        self._stamps[partition] = known["stamp"][-1]
        return known

    def _of_type(self, name: str, table: pl.DataFrame) -> pl.DataFrame:
        table = table.with_columns(type=pl.lit(name), stamp=pl.col("_timestamp").dt.epoch("ms"))
        if self._topic == "interactions":
            table = table.join(self._firsts.of(table).select("_offset", first=True), on="_offset", how="left")
            unused = pl.col("user_id").is_in(self._unused) | pl.col("kind").is_in(self._silent)
            table = table.with_columns(
                counted=pl.col("first").fill_null(False) & ~unused, occurred=pl.col("occurred_at").dt.epoch("us")
            )
        return table.select(
            (pl.col(column) if column in table.columns else pl.lit(None)).cast(kind).alias(column)
            for column, kind in self.schema.items()
        )


async def read_context(
    settings: Settings,
    decoder: Decoder,
    ranges: Iterable[OffsetRange],
    folder: Path,
    *,
    unused: Collection[str],
    silent: Collection[str],
    workers: int,
) -> Context:
    """The events of these ranges, written to `folder`.

    Args:
        unused: users whose interactions count for nothing.
        silent: kinds of interaction that count for nothing.

    Raises:
        as `infra.kafka.replay.replay`.
    """
    tables: dict[str, pl.LazyFrame] = {}
    for topic, parts in _by_topic(ranges).items():
        pieces = replay(settings, decoder, parts, types=TYPES[topic], workers=workers)
        tables[topic] = await _spooled(pieces, Narrowing(topic, unused, silent), folder / topic)
    return Context(tables)


async def _spooled(pieces: AsyncIterator[Tables], narrowing: Narrowing, folder: Path) -> pl.LazyFrame:
    """All pieces as one table, which is read from the folder when it is asked for."""
    folder.mkdir(parents=True)
    number = 0
    async for tables in pieces:
        table = await asyncio.to_thread(narrowing.of, tables)
        table.write_parquet(folder / f"{number:08}.parquet", compression="lz4")
        number += 1
    return pl.scan_parquet(folder / "*.parquet") if number else pl.LazyFrame(schema=narrowing.schema)


def _by_topic(ranges: Iterable[OffsetRange]) -> dict[str, Sequence[OffsetRange]]:
    found: dict[str, list[OffsetRange]] = {topic: [] for topic in FIELDS}
    for part in ranges:
        found[part.topic].append(part)
    return dict(found)
