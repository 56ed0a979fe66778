"""Finding in the log what somebody asks about: a person, an item, a range, or what one request has led to."""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import polars as pl

from infra.index.reading import BY_ITEM, BY_KEY, Index, Reading, Way
from infra.kafka.partitioner import partition_of
from infra.kafka.ranges import checked, ranges_now
from infra.kafka.records import Decoder
from infra.kafka.replay import replay
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from projections.lineage.context import CATALOG, CONTEXT, EVENT, Context
from projections.lineage.judge import INTERACTIONS, PROFILES, ROW, WORD, Matter, chosen, table
from schemas.envelope import Recorded
from schemas.errors import Invalid
from schemas.interactions import InteractionRecorded
from schemas.models import OffsetRange
from schemas.profiles import ConsentGiven, ConsentWithdrawn, UserErased

AT_ONCE = 2
"""Searches made at the same time: each may read all interactions."""

WORDS = {ConsentGiven.AVRO: "given", ConsentWithdrawn.AVRO: "withdrawn", UserErased.AVRO: "erased"}
TRAINING = "training"
ABOUT = {PROFILES: "user_id", CATALOG: "item_id"}
"""Who or what the events of a topic are about."""


class Finder:
    """Reads the log for those who ask where something went: where an index says where to look, only there.

    Args:
        indexed: whether indexes may be used; the answer is the same without.
    """

    def __init__(self, settings: Settings, *, indexed: bool = True) -> None:
        self._settings = settings
        self._indexed = indexed
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
            by_key = await self._by(BY_KEY)
            rows = await self._of_users(by_key, parts, [user_id])
            words = await self._words(by_key, [user_id])
            return Matter(rows, chosen(rows), words, tuple(by_key.ways))

    async def of_item(self, item_id: str, ranges: Sequence[OffsetRange]) -> Matter:
        """The interactions with an item within ranges. Raises as `of_user`."""
        async with self._slots:
            by_item = await self._by(BY_ITEM)
            found, rest = await by_item.picked(ranges, [item_id])
            rows = pl.concat([_rows_of(found), await self._rows(rest, wanted=pl.col("item_id") == item_id)])
            return await self._matter(rows, ranges, by_item.ways)

    async def of_request(self, correlation_id: str, ranges: Sequence[OffsetRange]) -> Matter:
        """The interactions that a request, such as an upload, has led to. Raises as `of_user`."""
        async with self._slots:
            rows = await self._rows(ranges, wanted=pl.col("_correlation_id") == correlation_id)
            return await self._matter(rows, ranges, _all_of(ranges, "no index knows requests"))

    async def of_range(self, part: OffsetRange, ranges: Sequence[OffsetRange]) -> Matter:
        """The interactions of a range.

        Raises:
            Invalid: it is not within the log.
            NotFound: there is no such partition.
            Incompatible, Unavailable: as `of_user`.
        """
        await checked(self._settings, [part])
        async with self._slots:
            return await self._matter(await self._rows([part]), ranges, _all_of([part], "all of it was asked for"))

    async def of_context(self, part: OffsetRange) -> Context:
        """The events of a range of `profiles` or `catalog`.

        Raises:
            Invalid: it is not within the log, or of a topic that no dataset reads.
            NotFound, Incompatible, Unavailable: as `of_range`.
        """
        if part.topic not in CONTEXT:
            raise Invalid(
                f"no dataset reads {part.topic}: give a range of {INTERACTIONS}, of {PROFILES} (consent, erasures, "
                f"features of people) or of {CATALOG} (filters and features of items)",
                code="other_topic",
            )
        await checked(self._settings, [part])
        pieces: list[pl.DataFrame] = []
        async with self._slots:
            async for tables in replay(self._settings, await self._open(), [part]):
                pieces += [_about(name, found) for name, found in tables.items() if ABOUT[part.topic] in found.columns]
        return Context(part.topic, table(pieces, EVENT))

    async def _matter(self, rows: pl.DataFrame, ranges: Sequence[OffsetRange], ways: Sequence[Way]) -> Matter:
        """With all that they are to be judged by."""
        by_key = await self._by(BY_KEY)
        ids = chosen(rows).select("_id", "user_id").unique()
        users = ids["user_id"].unique().to_list()
        repeats = (await self._of_users(by_key, ranges, users)).join(ids, on=["_id", "user_id"], how="semi")
        words = await self._words(by_key, rows["user_id"].unique().to_list())
        return Matter(rows, repeats, words, (*ways, *by_key.ways))

    async def _of_users(self, by_key: Reading, ranges: Sequence[OffsetRange], users: Collection[str]) -> pl.DataFrame:
        """All interactions of some people."""
        if not users:
            return table([], ROW)
        found, rest = await by_key.picked(ranges, users)
        return pl.concat([_rows_of(found), await self._rows(rest, keys=users)])

    async def _rows(
        self, ranges: Sequence[OffsetRange], *, keys: Collection[str] | None = None, wanted: pl.Expr | None = None
    ) -> pl.DataFrame:
        """Interactions of these ranges, those that are wanted, each record read."""
        pieces: list[pl.DataFrame] = []
        if not ranges:
            return table(pieces, ROW)
        decoder = await self._open()
        async for tables in replay(self._settings, decoder, ranges, types={InteractionRecorded.AVRO}, keys=keys):
            pieces += [found if wanted is None else found.filter(wanted) for found in tables.values()]
        return table(pieces, ROW)

    async def _words(self, by_key: Reading, users: Collection[str]) -> pl.DataFrame:
        """All that these people ever said about training, and their erasure."""
        if not users:
            return table([], WORD)
        found, rest = await by_key.picked(await ranges_now(self._settings, {PROFILES}), users)
        pieces: list[pl.DataFrame] = []
        if rest:
            async for tables in replay(self._settings, await self._open(), rest, types=set(WORDS), keys=users):
                pieces += [_said(name, one) for name, one in tables.items()]
        return pl.concat([_words_of(found), table(pieces, WORD)])

    async def _by(self, index: Index) -> Reading:
        return Reading(self._settings, await self._open(), indexed=self._indexed, index=index)

    async def _open(self) -> Decoder:
        if self._decoder is None:
            self._decoder = await open_decoder(self._settings)
        return self._decoder


def _about(name: str, found: pl.DataFrame) -> pl.DataFrame:
    """Events of a context, as rows of `EVENT`."""
    word: pl.Expr = pl.lit(WORDS.get(name), pl.String)
    if name in WORDS and name != UserErased.AVRO:
        word = pl.when(pl.col("purpose") == TRAINING).then(word)
    about = next(column for column in ABOUT.values() if column in found.columns)
    return found.with_columns(about=pl.col(about), word=word)


def _rows_of(found: Iterable[Recorded]) -> pl.DataFrame:
    """Events that were picked, as rows."""
    return pl.DataFrame(
        [
            (*_place(one), str(one.meta.id), one.event.user_id, one.event.item_id, one.event.kind)
            for one in found
            if isinstance(one.event, InteractionRecorded)
        ],
        schema=dict(ROW),
        orient="row",
    )


def _words_of(found: Iterable[Recorded]) -> pl.DataFrame:
    """The same of words."""
    rows = [
        (*_place(one), one.event.user_id, WORDS[one.meta.type])
        for one in found
        if isinstance(one.event, UserErased)
        or (isinstance(one.event, (ConsentGiven, ConsentWithdrawn)) and one.event.purpose == TRAINING)
    ]
    return pl.DataFrame(rows, schema=dict(WORD), orient="row")


def _place(one: Recorded) -> tuple[int, int]:
    return one.position.partition, one.position.offset


def _all_of(ranges: Iterable[OffsetRange], why: str) -> list[Way]:
    """Ranges that were read from one end to the other."""
    return [Way(part.topic, part.partition, part.first, part.end, part.end - part.first, why=why) for part in ranges]


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
