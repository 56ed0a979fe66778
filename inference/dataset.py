"""A dataset is a manifest: which part of the log, what was left out, and the hash of what remained.

The same ranges give the same rows and the same hash on any day and any machine: rows stand in log order, an id that
a user's client sends again counts once, where it came first, and consent is read from the profiles as they stood at
the stated offsets. One thing is stronger: whoever has been erased by now is left out, whatever the ranges say, so a
dataset of before an erasure cannot be made again.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import polars as pl

from inference.content import ContentHash
from inference.inputs import SILENT_KINDS
from inference.interactions import Interactions
from infra.kafka.ranges import ordered_ranges, ranges_now
from infra.kafka.records import Decoder
from infra.kafka.replay import Report, replay
from infra.settings import Settings
from schemas.errors import Invalid
from schemas.interactions import InteractionRecorded
from schemas.models import OffsetRange
from schemas.profiles import ConsentGiven, ConsentWithdrawn, UserErased

INTERACTIONS, PROFILES = "interactions", "profiles"

COLUMNS: Mapping[str, pl.DataType | type[pl.DataType]] = {
    "_topic": pl.String,
    "_partition": pl.Int32,
    "_offset": pl.Int64,
    "_id": pl.String,
    "user_id": pl.String,
    "item_id": pl.String,
    "kind": pl.String,
    "value": pl.Float64,
    "occurred_at": pl.Datetime("us", "UTC"),
    "decision_id": pl.String,
}
"""What a row is, and what is hashed."""

FORMAT = 2
"""1 knew of no erasures."""


@dataclass(frozen=True)
class Manifest:
    """All that is needed to build the same dataset again, and to see that it is the same.

    Attributes:
        ranges: parts of `interactions` and `profiles`, in log order.
        silent_kinds: kinds of interaction left out.
        schema_ids: of the writers, as the registry has them.
        rows: interactions in the dataset.
        duplicates: interactions left out because their id had come before from the same user.
        silent: interactions left out for their kind.
        withdrawn_users: users with no consent to training at the end of the profiles' ranges.
        withdrawn: interactions left out because of them.
        erasures: the part of `profiles` that was looked through for erasures: all there was.
        erased_users: users who have been erased.
        erased: interactions left out because of them.
        erased_since: how many of these would have been there before: their users were erased after the profiles'
            ranges end.
        sha256: over the content, see `inference.content`.
        format: of this manifest.
    """

    ranges: tuple[OffsetRange, ...]
    silent_kinds: tuple[str, ...]
    schema_ids: tuple[int, ...]
    rows: int
    duplicates: int
    silent: int
    withdrawn_users: int
    withdrawn: int
    erasures: tuple[OffsetRange, ...]
    erased_users: int
    erased: int
    erased_since: int
    sha256: str
    format: int = FORMAT

    def as_json(self) -> str:
        """For people and other programs."""
        return json.dumps(asdict(self), indent=2) + "\n"


@dataclass(frozen=True, eq=False)
class Dataset:
    """A manifest and its rows, with the columns of `COLUMNS`."""

    manifest: Manifest
    rows: pl.DataFrame

    @cached_property
    def interactions(self) -> Interactions:
        """As models are fitted on them; every row weighs the same."""
        users, items = self.rows["user_id"], self.rows["item_id"]
        return Interactions(
            user=_places(users),
            item=_places(items),
            weight=pl.repeat(1.0, len(self.rows), dtype=pl.Float32, eager=True).to_numpy(),
            occurred_at=self.rows["occurred_at"].to_physical().to_numpy(),
            users=tuple(users.unique().sort()),
            items=tuple(items.unique().sort()),
        )


def _places(names: pl.Series) -> Any:
    """Index of each name in the sorted vocabulary."""
    return (names.rank("dense") - 1).cast(pl.Int32).to_numpy()


async def fixed_ranges(settings: Settings, asked: Sequence[OffsetRange]) -> tuple[OffsetRange, ...]:
    """What a run reads: what was asked for, and where nothing was asked of a topic all there is now.

    Raises:
        Invalid: a range is of another topic, or makes no sense.
        Unavailable: the brokers do not answer.
    """
    named = {part.topic for part in asked}
    if others := named - {INTERACTIONS, PROFILES}:
        raise Invalid(f"a dataset is made of interactions and profiles, not of {', '.join(sorted(others))}")
    missing = {INTERACTIONS, PROFILES} - named
    return tuple(ordered_ranges([*asked, *(await ranges_now(settings, missing) if missing else ())]))


async def build(
    settings: Settings, decoder: Decoder, ranges: Iterable[OffsetRange], report: Report | None = None
) -> Dataset:
    """Replay these ranges into a dataset.

    Raises:
        Invalid: a range is not within the log, or profiles do not begin at its start.
        Incompatible: an event cannot be read.
        Unavailable: brokers or registry do not answer.
    """
    ordered = ordered_ranges(ranges)
    profiles = [part for part in ordered if part.topic == PROFILES]
    if any(part.first for part in profiles):
        raise Invalid("consent is a fold from the first event: the ranges of profiles must begin at offset 0")
    sieve = Sieve(await _withdrawn(settings, decoder, profiles), await _erasures(settings, decoder, profiles))
    wanted = [part for part in ordered if part.topic == INTERACTIONS]
    async for tables in replay(settings, decoder, wanted, types={InteractionRecorded.AVRO}, report=report):
        for table in tables.values():
            sieve.take(table)
    return sieve.dataset(ordered)


async def _withdrawn(settings: Settings, decoder: Decoder, ranges: Sequence[OffsetRange]) -> set[str]:
    """Users whose last word on training, in these ranges, was no."""
    last: dict[str, bool] = {}
    said: list[pl.DataFrame] = []
    async for tables in replay(settings, decoder, ranges, types={ConsentGiven.AVRO, ConsentWithdrawn.AVRO}):
        for name, table in tables.items():
            words = table.filter(pl.col("purpose") == "training")
            said.append(words.select("_partition", "_offset", "user_id", given=pl.lit(name == ConsentGiven.AVRO)))
    if said:
        ordered = pl.concat(said).sort("_partition", "_offset")
        last = dict(zip(ordered["user_id"], ordered["given"], strict=True))
    return {user for user, given in last.items() if not given}


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


async def _erasures(settings: Settings, decoder: Decoder, profiles: Sequence[OffsetRange]) -> Erasures:
    ranges = tuple(ordered_ranges(await ranges_now(settings, {PROFILES})))
    ends = {part.partition: part.end for part in profiles}
    users: set[str] = set()
    since: set[str] = set()
    async for tables in replay(settings, decoder, ranges, types={UserErased.AVRO}):
        for table in tables.values():
            for user_id, partition, offset in table.select("user_id", "_partition", "_offset").iter_rows():
                users.add(user_id)
                if offset >= ends.get(partition, 0):
                    since.add(user_id)
    return Erasures(ranges, frozenset(users), frozenset(since))


class Sieve:
    """Lets through what belongs into a dataset, and counts the rest.

    Args:
        withdrawn: users who are left out.
        erasures: users who are left out as well.
    """

    def __init__(self, withdrawn: Collection[str], erasures: Erasures = NO_ERASURES) -> None:
        self._withdrawn = sorted(set(withdrawn) - erasures.users)
        self._erasures = erasures
        self._gone, self._gone_since = sorted(erasures.users), sorted(erasures.since)
        self._erased = self._erased_since = 0
        self._seen: set[tuple[str, str]] = set()
        self._schema_ids: set[int] = set()
        self._kept: list[pl.DataFrame] = []
        self._hash = ContentHash(COLUMNS)
        self._duplicates = self._silent = self._refused = 0

    def take(self, table: pl.DataFrame) -> None:
        """The next interactions in log order."""
        self._schema_ids |= set(table["_schema_id"].unique())
        first = table.filter(self._first(table["_id"], table["user_id"]))
        self._duplicates += len(table) - len(first)
        spoken = first.filter(~pl.col("kind").is_in(sorted(SILENT_KINDS)))
        self._silent += len(first) - len(spoken)
        there = spoken.filter(~pl.col("user_id").is_in(self._gone))
        self._erased += len(spoken) - len(there)
        self._erased_since += len(spoken.filter(pl.col("user_id").is_in(self._gone_since)))
        allowed = there.filter(~pl.col("user_id").is_in(self._withdrawn))
        self._refused += len(there) - len(allowed)
        rows = allowed.select(pl.col(name).cast(kind) for name, kind in COLUMNS.items())
        self._hash.update(rows)
        self._kept.append(rows)

    def dataset(self, ranges: Sequence[OffsetRange]) -> Dataset:
        """All that was let through."""
        manifest = Manifest(
            ranges=tuple(ranges),
            silent_kinds=tuple(sorted(SILENT_KINDS)),
            schema_ids=tuple(sorted(self._schema_ids)),
            rows=self._hash.rows,
            duplicates=self._duplicates,
            silent=self._silent,
            withdrawn_users=len(self._withdrawn),
            withdrawn=self._refused,
            erasures=self._erasures.ranges,
            erased_users=len(self._gone),
            erased=self._erased,
            erased_since=self._erased_since,
            sha256=self._hash.hexdigest(),
        )
        rows = pl.concat(self._kept) if self._kept else pl.DataFrame(schema=dict(COLUMNS))
        return Dataset(manifest, rows.rechunk())

    def _first(self, ids: pl.Series, users: pl.Series) -> pl.Series:
        """Whether each id comes for the first time from its user. Ids of our own making (UUIDv7) cannot come twice."""
        chosen = ids.str.slice(14, 1) == "5"
        if not chosen.any():
            return pl.repeat(True, len(ids), eager=True)
        rows = zip(chosen, zip(ids, users, strict=True), strict=True)
        return pl.Series([not own or self._is_new(one) for own, one in rows], dtype=pl.Boolean)

    def _is_new(self, one: tuple[str, str]) -> bool:
        if one in self._seen:
            return False
        self._seen.add(one)
        return True
