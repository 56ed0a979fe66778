"""Finding in the log what somebody asks about: a person, an item, a range, or what one request has led to."""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import polars as pl

from infra.kafka.partitioner import partition_of
from infra.kafka.ranges import checked, ranges_now
from infra.kafka.records import Decoder
from infra.kafka.replay import replay
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from projections.lineage.judge import INTERACTIONS, PROFILES, ROW, WORD, Matter, chosen, table
from schemas.errors import Invalid
from schemas.interactions import InteractionRecorded
from schemas.models import OffsetRange
from schemas.profiles import ConsentGiven, ConsentWithdrawn, UserErased

AT_ONCE = 2
"""Searches made at the same time: each may read all interactions."""

WORDS = {ConsentGiven.AVRO: "given", ConsentWithdrawn.AVRO: "withdrawn", UserErased.AVRO: "erased"}
TRAINING = "training"


class Finder:
    """Reads the log for those who ask where something went."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._decoder: Decoder | None = None

    async def of_user(self, user_id: str, ranges: Iterable[OffsetRange]) -> Matter:
        """A person's interactions within ranges.

        Raises:
            Incompatible: an event cannot be read.
            Unavailable: Kafka or the registry does not answer.
        """
        whole = {part.partition for part in await ranges_now(self._settings, {INTERACTIONS})}
        mine = partition_of(user_id, len(whole))
        parts = [part for part in ranges if part.partition == mine]
        async with self._slots:
            rows = await self._rows(parts, keys=[user_id])
            return Matter(rows, chosen(rows), await self._words([user_id]))

    async def of_item(self, item_id: str, ranges: Sequence[OffsetRange]) -> Matter:
        """The interactions with an item within ranges. Raises as `of_user`."""
        return await self._matter(ranges, ranges, pl.col("item_id") == item_id)

    async def of_request(self, correlation_id: str, ranges: Sequence[OffsetRange]) -> Matter:
        """The interactions that a request, such as an upload, has led to. Raises as `of_user`."""
        return await self._matter(ranges, ranges, pl.col("_correlation_id") == correlation_id)

    async def of_range(self, part: OffsetRange, ranges: Sequence[OffsetRange]) -> Matter:
        """The interactions of a range.

        Raises:
            Invalid: it is not within the log, or of another topic.
            NotFound: there is no such partition.
            Incompatible, Unavailable: as `of_user`.
        """
        if part.topic != INTERACTIONS:
            raise Invalid(
                f"datasets are made of interactions, and {part.topic} is another topic: give a range of interactions",
                code="other_topic",
            )
        await checked(self._settings, [part])
        return await self._matter([part], ranges, pl.lit(True))

    async def _matter(self, searched: Sequence[OffsetRange], ranges: Sequence[OffsetRange], wanted: pl.Expr) -> Matter:
        async with self._slots:
            rows = await self._rows(searched, wanted=wanted)
            users = rows["user_id"].unique().to_list()
            own = chosen(rows)
            ids = own.select("_id", "user_id").unique()
            repeats = own if not len(own) else await self._rows(ranges, keys=ids["user_id"].unique().to_list(), ids=ids)
            return Matter(rows, repeats, await self._words(users))

    async def _rows(
        self,
        ranges: Sequence[OffsetRange],
        *,
        keys: Collection[str] | None = None,
        wanted: pl.Expr | None = None,
        ids: pl.DataFrame | None = None,
    ) -> pl.DataFrame:
        """Interactions of these ranges, those that are wanted, with these ids."""
        pieces: list[pl.DataFrame] = []
        decoder = await self._open()
        async for tables in replay(self._settings, decoder, ranges, types={InteractionRecorded.AVRO}, keys=keys):
            for found in tables.values():
                kept = found if wanted is None else found.filter(wanted)
                pieces.append(kept if ids is None else kept.join(ids, on=["_id", "user_id"], how="semi"))
        return table(pieces, ROW)

    async def _words(self, users: Collection[str]) -> pl.DataFrame:
        """All that these people ever said about training, and their erasure."""
        pieces: list[pl.DataFrame] = []
        if users:
            decoder, ranges = await self._open(), await ranges_now(self._settings, {PROFILES})
            async for tables in replay(self._settings, decoder, ranges, types=set(WORDS), keys=users):
                pieces += [_said(name, found) for name, found in tables.items()]
        return table(pieces, WORD)

    async def _open(self) -> Decoder:
        if self._decoder is None:
            self._decoder = await open_decoder(self._settings)
        return self._decoder


def _said(name: str, found: pl.DataFrame) -> pl.DataFrame:
    about = found if name == UserErased.AVRO else found.filter(pl.col("purpose") == TRAINING)
    return about.with_columns(word=pl.lit(WORDS[name]))


def spanned(ranges: Iterable[OffsetRange], ends: Iterable[OffsetRange]) -> list[OffsetRange]:
    """For each partition of interactions, from the first to the last offset that any of these ranges holds.

    Args:
        ends: the log as it stands; what has been cut from it cannot be read.
    """
    log: dict[int, Any] = {part.partition: part for part in ends if part.topic == INTERACTIONS}
    spans: dict[int, tuple[int, int]] = {}
    for part in ranges:
        if part.topic == INTERACTIONS and part.partition in log and part.end > part.first:
            first, end = spans.get(part.partition, (part.first, part.end))
            spans[part.partition] = min(first, part.first), max(end, part.end)
    return [
        OffsetRange(
            topic=INTERACTIONS,
            partition=partition,
            first=max(first, log[partition].first),
            end=max(min(end, log[partition].end), log[partition].first),
        )
        for partition, (first, end) in sorted(spans.items())
    ]
