"""The role `projector`: folds the log into every read model, each from its own checkpoint.

The lanes of a topic that stand close together share one reader, so that a record is fetched and decoded once.
Everything that may be away (Kafka, the registry, PostgreSQL, Elasticsearch) is waited for; a view that fails by its own
fault stops alone, and is tried again after a pause. Several projectors share the partitions; the fence around the
checkpoints keeps those right that believe in the same one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass
from random import uniform
from typing import TypeVar

import structlog
from elasticsearch import AsyncElasticsearch

import projections.views
from infra.discover import discover
from infra.elastic import make_elastic
from infra.ending import ended
from infra.health import Health
from infra.kafka.facts import FactWriter
from infra.kafka.membership import Share, join
from infra.kafka.records import Decoder
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from infra.together import together
from projections.batch import Batch
from projections.checkpoint import Overtaken
from projections.desk import Desk
from projections.lane import Lane, cohorts, waits
from projections.owner import own
from projections.reader import Reader, open_reader
from projections.standing import Standing
from projections.view import Index, Projection, View, topics_of
from projections.voice import Announcer, LogVoice
from projections.watch import partitions_of, watch
from projections.writer import make_writer
from schemas.errors import Incompatible, Problem, Unavailable

GROUP = "projector"

NEAR = 20_000
"""Events that the lanes of one reader may be apart when it starts."""

FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 3.0

T = TypeVar("T")
log = structlog.get_logger()


async def work(settings: Settings, health: Health) -> None:
    """Run every projection until cancelled."""
    await run(settings, health, declared())


def declared() -> tuple[Projection, ...]:
    """Every projection of `projections/views`, by name."""
    found: dict[str, Projection] = {**discover(projections.views, View), **discover(projections.views, Index)}
    return tuple(found[name] for name in sorted(found))


async def run(settings: Settings, health: Health, wanted: Iterable[Projection], share: Share | None = None) -> None:
    """Run these projections until cancelled.

    Args:
        share: the partitions to read; None joins the group of all projectors, which share them out.
    """
    standings = [Standing(projection, health) for projection in wanted]
    decoder = await _until_there(lambda: open_decoder(settings), standings)
    await _until_there(lambda: partitions_of(settings), standings)
    await _until_there(lambda: own(settings), standings)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(make_elastic(settings))
        writer = FactWriter(settings, decoder.codec)
        await _until_there(lambda: stack.enter_async_context(writer), standings)
        if share is None:
            topics = sorted({topic for one in standings for topic in topics_of(one.projection)})
            share = await _until_there(
                lambda: stack.enter_async_context(join(settings, group_of(settings), topics)), standings
            )
        voice = LogVoice(writer)
        names = [projection.name for projection in declared()]
        mine = [one.projection for one in standings]
        desk = Desk(settings, decoder, voice, client, mine, names, lambda fault: _wait(standings, fault))
        async with asyncio.TaskGroup() as group:
            group.create_task(watch(settings, standings, health))
            group.create_task(desk.run())
            await desk.ready.wait()
            for topic, lanes in _lanes(settings, client, voice, standings).items():
                for kind in (View, Index):  # one store's absence does not hold up the other's read models
                    chosen = [lane for lane in lanes if isinstance(lane.projection, kind)]
                    source = Source(settings, decoder, topic)
                    group.create_task(Line(source, chosen, share).run())


def group_of(settings: Settings) -> str:
    """The group of those projectors that fold the same tables: each tenant's fold the whole log for themselves."""
    return f"{GROUP}.{settings.postgres.db_schema}"


def _wait(standings: Iterable[Standing], fault: Problem) -> None:
    for standing in standings:
        standing.waits(fault)


def _lanes(
    settings: Settings, client: AsyncElasticsearch, voice: LogVoice, standings: Iterable[Standing]
) -> dict[str, list[Lane]]:
    lanes: dict[str, list[Lane]] = {}
    for standing in standings:
        for topic in topics_of(standing.projection):
            writer = make_writer(standing.projection, settings, client)
            told = Announcer(settings, voice, standing.projection)
            lanes.setdefault(topic, []).append(Lane(standing.projection, topic, writer, told, standing))
    return lanes


@dataclass(frozen=True)
class Source:
    """What reading a topic takes."""

    settings: Settings
    decoder: Decoder
    topic: str

    def open(self, reached: Mapping[int, int]) -> AbstractAsyncContextManager[Reader]:
        """A reader that stands at these offsets."""
        return open_reader(self.settings, self.decoder, self.topic, reached)


class Line:
    """The lanes of one topic into one kind of store, on the partitions that are this worker's."""

    def __init__(self, source: Source, lanes: Sequence[Lane], share: Share) -> None:
        self._source = source
        self._lanes = lanes
        self._share = share

    async def run(self) -> None:
        """Follow the topic until cancelled, anew whenever the share changes."""
        while True:
            epoch = self._share.epoch
            mine = self._share.of(self._source.topic)
            if epoch and not mine:
                for lane in self._lanes:
                    lane.idles()
            await self._until_share_changes(epoch, mine)

    async def _until_share_changes(self, epoch: int, mine: frozenset[int]) -> None:
        work = asyncio.create_task(self._follow(mine))
        change = asyncio.create_task(self._share.after(epoch))
        try:
            await asyncio.wait({work, change}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
                await change
        finally:
            with suppress(Exception):  # what `work` failed with has been raised above
                await ended(work, change)

    async def _follow(self, mine: frozenset[int]) -> None:
        """Open the lanes when their store is there; those that stand close together read together."""
        if not mine or not self._lanes:
            return
        try:
            await _until_there(lambda: _open(self._lanes, mine), [lane.standing for lane in self._lanes])
            async with asyncio.TaskGroup() as group:
                for cohort in cohorts(list(self._lanes), NEAR):
                    group.create_task(Follower(self._source, cohort, mine, group).run())
        finally:
            await asyncio.gather(*(lane.close() for lane in self._lanes))


async def _open(lanes: Iterable[Lane], partitions: Collection[int]) -> None:
    for lane in lanes:
        await lane.open(partitions)


async def _until_there(attempt: Callable[[], Awaitable[T]], standings: Iterable[Standing]) -> T:
    """Try until what is needed is there."""
    wait_s = FIRST_WAIT_S
    while True:
        try:
            return await attempt()
        except Unavailable as fault:
            for standing in standings:
                standing.waits(fault)
            log.warning("waiting", cause=str(fault))
        await asyncio.sleep(wait_s)
        wait_s = min(LONGEST_WAIT_S, wait_s * 2)


class Follower:
    """Follows some partitions of one topic for some lanes: reads ahead while they write, begins again where they stand.

    Args:
        group: takes the lanes that stop, each on its own from there on.
    """

    def __init__(self, source: Source, lanes: list[Lane], partitions: frozenset[int], group: asyncio.TaskGroup) -> None:
        self._source = source
        self._lanes = lanes
        self._partitions = partitions
        self._group = group
        self._wait_s = FIRST_WAIT_S

    async def run(self) -> None:
        """Follow until cancelled, or until every lane goes its own way."""
        while self._lanes:
            await self._attempt()
            stopped = [lane for lane in self._lanes if lane.stopped]
            self._lanes = [lane for lane in self._lanes if lane not in stopped]
            for lane in stopped:
                self._group.create_task(Follower(self._source, [lane], self._partitions, self._group)._again())

    async def _again(self) -> None:
        """Begin anew, after the pause that its standing wants."""
        (lane,) = self._lanes
        await asyncio.sleep(lane.standing.pause_s)
        log.info("view begins again", view=lane.projection.name, attempts=lane.standing.attempts)
        await self.run()

    async def _attempt(self) -> None:
        try:
            await self._follow()
        except Overtaken as fault:
            log.info("another projector was quicker", topic=self._source.topic, detail=fault.detail)
            await asyncio.sleep(uniform(0, FIRST_WAIT_S))
        except Unavailable as fault:
            waits(self._lanes, fault)
            await asyncio.sleep(self._wait_s)
            self._wait_s = min(LONGEST_WAIT_S, self._wait_s * 2)
        except Incompatible as fault:
            for lane in self._lanes:
                lane.stop(fault)

    async def _follow(self) -> None:
        await _open(self._lanes, self._partitions)
        if any(lane.stopped for lane in self._lanes):
            return
        reached = {p: min(lane.reached[p] for lane in self._lanes) for p in self._partitions}
        async with self._source.open(reached) as reader:
            await self._pump(reader)

    async def _pump(self, reader: Reader) -> None:
        """Read the next batch while this one is written."""
        upcoming = asyncio.create_task(reader.read())
        try:
            while not any(lane.stopped for lane in self._lanes):
                batch = await upcoming
                upcoming = asyncio.create_task(reader.read())
                await self._hand_out(batch)
                self._wait_s = FIRST_WAIT_S
        finally:
            upcoming.cancel()
            await asyncio.gather(upcoming, return_exceptions=True)

    async def _hand_out(self, batch: Batch | None) -> None:
        """Let every lane finish with a batch before the first fault is raised."""
        work = [lane.rest() if batch is None else lane.take(batch) for lane in self._lanes if not lane.stopped]
        await together(*work)
