"""The same counts from scratch: of a part of the log, whole or for the rows of a few items."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import polars as pl

from inference.counting.near import Row, row_of
from inference.counting.pairs import counted
from inference.inputs import SILENT_KINDS
from infra.kafka.columns import client_chosen
from infra.kafka.records import Decoder
from infra.kafka.replay import replay
from infra.settings import Settings
from schemas.interactions import InteractionRecorded
from schemas.models import OffsetRange
from schemas.profiles import ConsentGiven, ConsentWithdrawn, UserErased

COLUMNS = ("_id", "user_id", "item_id", "kind", "occurred_at")


@dataclass(frozen=True)
class Silence:
    """Whose interactions may not be counted.

    Attributes:
        withdrawn: who does not consent to training now.
        erased: who is gone for good.
    """

    withdrawn: frozenset[str]
    erased: frozenset[str]

    @property
    def users(self) -> frozenset[str]:
        """All of them."""
        return self.withdrawn | self.erased


async def silence(settings: Settings, decoder: Decoder, ranges: Sequence[OffsetRange]) -> Silence:
    """What these ranges of profiles say.

    Raises:
        as `replay`.
    """
    erased: set[str] = set()
    said: list[pl.DataFrame] = []
    types = {ConsentGiven.AVRO, ConsentWithdrawn.AVRO, UserErased.AVRO}
    async for tables in replay(settings, decoder, ranges, types=types):
        for name, table in tables.items():
            if name == UserErased.AVRO:
                erased |= set(table["user_id"])
            else:
                words = table.filter(pl.col("purpose") == "training")
                said.append(words.select("_partition", "_offset", "user_id", given=pl.lit(name == ConsentGiven.AVRO)))
    ordered = pl.concat(said).sort("_partition", "_offset") if said else None
    last = {} if ordered is None else dict(zip(ordered["user_id"], ordered["given"], strict=True))
    return Silence(frozenset(user for user, given in last.items() if not given), frozenset(erased))


async def rows_of(
    settings: Settings,
    decoder: Decoder,
    ranges: Sequence[OffsetRange],
    items: Collection[str],
    *,
    silent: Collection[str],
    gone: Collection[tuple[int, int]] = (),
) -> dict[str, Row]:
    """What followed these items in these ranges of interactions.

    Args:
        silent: users who are not counted.
        gone: partitions and offsets of interactions that are supposed not to have happened.

    Raises:
        as `replay`.
    """
    parts: list[pl.DataFrame] = []
    async for tables in replay(settings, decoder, ranges, types={InteractionRecorded.AVRO}):
        parts += [_without(table, gone).select(COLUMNS) for table in tables.values()]
    if not parts:
        return {}
    told = pl.concat(parts)
    users = told.filter(pl.col("item_id").is_in(list(items)))["user_id"].unique()
    return counted_rows(told.filter(pl.col("user_id").is_in(users.implode())), items, silent)


def _without(table: pl.DataFrame, gone: Collection[tuple[int, int]]) -> pl.DataFrame:
    offsets = [offset for partition, offset in gone if len(table) and partition == table["_partition"][0]]
    return table.filter(~pl.col("_offset").is_in(offsets)) if offsets else table


def counted_rows(told: pl.DataFrame, items: Collection[str], silent: Collection[str]) -> dict[str, Row]:
    """The rows of these items, from interactions in the order of the log."""
    again = client_chosen(pl.col("_id")) & ~pl.struct("_id", "user_id").is_first_distinct()
    kept = told.filter(~again, ~pl.col("kind").is_in(sorted(SILENT_KINDS)), ~pl.col("user_id").is_in(list(silent)))
    ordered = kept.sort("user_id", "occurred_at", maintain_order=True)
    names = ordered["item_id"].unique().sort()
    user = ordered["user_id"].rank("dense").cast(pl.Int64).to_numpy()
    counts = counted(user, (ordered["item_id"].rank("dense") - 1).cast(pl.Int32).to_numpy())
    places = {name: place for place, name in enumerate(names)}
    return {
        item: row_of({names[int(other)]: int(count) for other, count in zip(*counts.row(places[item]), strict=True)})
        for item in items
        if item in places and len(counts.row(places[item])[0])
    }
