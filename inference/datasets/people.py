"""Whose interactions may be used: consent as it stood, and whoever has been erased by now."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from infra.kafka.ranges import ordered_ranges, ranges_now
from infra.kafka.records import Decoder
from infra.kafka.replay import replay
from infra.settings import Settings
from schemas.models import OffsetRange
from schemas.profiles import ConsentGiven, ConsentWithdrawn, UserErased

PROFILES = "profiles"


@dataclass(frozen=True)
class Erasures:
    """Who has been erased by now.

    Attributes:
        ranges: the part of `profiles` that says so.
        users: everybody.
        since: those whose erasure the dataset's own ranges do not hold.
    """

    ranges: tuple[OffsetRange, ...] = ()
    users: frozenset[str] = frozenset()
    since: frozenset[str] = frozenset()


NO_ERASURES = Erasures()


async def withdrawn(settings: Settings, decoder: Decoder, ranges: Sequence[OffsetRange]) -> set[str]:
    """Users whose last word on training, in these ranges of `profiles`, was no.

    Raises:
        as `infra.kafka.replay.replay`.
    """
    said: list[pl.DataFrame] = []
    async for tables in replay(settings, decoder, ranges, types={ConsentGiven.AVRO, ConsentWithdrawn.AVRO}):
        for name, table in tables.items():
            words = table.filter(pl.col("purpose") == "training")
            said.append(words.select("_partition", "_offset", "user_id", given=pl.lit(name == ConsentGiven.AVRO)))
    return refusing(pl.concat(said)) if said else set()


def refusing(words: pl.DataFrame) -> set[str]:
    """Users whose last word is no, of `_partition`, `_offset`, `user_id` and whether consent was `given`."""
    ordered = words.sort("_partition", "_offset")
    last = dict(zip(ordered["user_id"], ordered["given"], strict=True))
    return {user for user, given in last.items() if not given}


async def erasures(settings: Settings, decoder: Decoder, profiles: Sequence[OffsetRange]) -> Erasures:
    """Who has been erased by now, and who of them after these ranges of `profiles` end.

    Raises:
        as `infra.kafka.replay.replay`.
    """
    ranges = tuple(ordered_ranges(await ranges_now(settings, {PROFILES})))
    said: list[pl.DataFrame] = []
    async for tables in replay(settings, decoder, ranges, types={UserErased.AVRO}):
        said += [table.select("_partition", "_offset", "user_id") for table in tables.values()]
    return erased(ranges, pl.concat(said), profiles) if said else Erasures(ranges)


def erased(ranges: tuple[OffsetRange, ...], words: pl.DataFrame, profiles: Sequence[OffsetRange]) -> Erasures:
    """Of `_partition`, `_offset` and `user_id` of every erasure."""
    ends = {part.partition: part.end for part in profiles}
    since = [
        user
        for user, partition, offset in words.select("user_id", "_partition", "_offset").iter_rows()
        if offset >= ends.get(partition, 0)
    ]
    return Erasures(ranges, frozenset(words["user_id"]), frozenset(since))
