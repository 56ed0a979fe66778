"""The role `projector`: folds the log into every read model, each from its own checkpoint.

The lanes of a topic that stand close together share one reader, so that a record is fetched and decoded once.
Everything that may be away (Kafka, the registry, PostgreSQL, Elasticsearch) is waited for; a view that fails by its own
fault stops alone.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from random import uniform
from typing import TypeVar

import structlog
from elasticsearch import AsyncElasticsearch

import projections.views
from infra.discover import discover
from infra.elastic import make_elastic
from infra.health import Health
from infra.kafka.deadletters import DeadLetters
from infra.kafka.facts import FactWriter
from infra.kafka.records import Decoder
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from projections.batch import Batch
from projections.checkpoint import Overtaken
from projections.lane import Lane, cohorts, waits
from projections.reader import Reader, open_reader
from projections.standing import Standing
from projections.view import Index, Projection, View, topics_of
from projections.watch import partitions_of, watch
from projections.writer import make_writer
from schemas.errors import Incompatible, Problem, Unavailable

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


async def run(settings: Settings, health: Health, wanted: Iterable[Projection]) -> None:
    """Run these projections until cancelled."""
    standings = [Standing(projection, health) for projection in wanted]
    decoder = await _until_there(lambda: open_decoder(settings), standings)
    partitions = await _until_there(lambda: partitions_of(settings), standings)
    async with make_elastic(settings) as client, asyncio.TaskGroup() as group:
        writer = await _until_there(lambda: _started(FactWriter(settings, decoder.codec)), standings)
        group.create_task(watch(settings, standings, health))
        letters = DeadLetters(writer)
        try:
            for topic, lanes in _lanes(settings, client, letters, standings).items():
                group.create_task(_follow_topic(settings, decoder, letters, topic, lanes, partitions[topic]))
            await asyncio.Event().wait()
        finally:
            await writer.__aexit__()


def _lanes(
    settings: Settings, client: AsyncElasticsearch, letters: DeadLetters, standings: Iterable[Standing]
) -> dict[str, list[Lane]]:
    lanes: dict[str, list[Lane]] = {}
    for standing in standings:
        for topic in topics_of(standing.projection):
            writer = make_writer(standing.projection, settings, client)
            lanes.setdefault(topic, []).append(Lane(standing.projection, topic, writer, letters, standing))
    return lanes


async def _follow_topic(
    settings: Settings, decoder: Decoder, letters: DeadLetters, topic: str, lanes: list[Lane], partitions: int
) -> None:
    """Open the lanes of a topic, each when its store is there; those that stand close together read together."""
    async with asyncio.TaskGroup() as group:
        for kind in (View, Index):  # one store's absence does not hold up the other's read models
            group.create_task(
                _follow_kind(
                    settings,
                    decoder,
                    letters,
                    topic,
                    [lane for lane in lanes if isinstance(lane.projection, kind)],
                    partitions,
                )
            )


async def _follow_kind(
    settings: Settings, decoder: Decoder, letters: DeadLetters, topic: str, lanes: list[Lane], partitions: int
) -> None:
    try:
        await _until_there(lambda: _open(lanes, partitions), [lane.standing for lane in lanes])
        async with asyncio.TaskGroup() as group:
            for cohort in cohorts([lane for lane in lanes if not lane.stopped], NEAR):
                group.create_task(Follower(settings, decoder, letters, topic, cohort, partitions).run())
    finally:
        await asyncio.gather(*(lane.close() for lane in lanes))


async def _open(lanes: Iterable[Lane], partitions: int) -> None:
    for lane in lanes:
        await lane.open(partitions)


async def _started(writer: FactWriter) -> FactWriter:
    return await writer.__aenter__()


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
    """Follows one topic for some lanes: reads ahead while they write, begins again where their checkpoints stand."""

    def __init__(
        self,
        settings: Settings,
        decoder: Decoder,
        letters: DeadLetters,
        topic: str,
        lanes: list[Lane],
        partitions: int,
    ) -> None:
        self._settings = settings
        self._decoder = decoder
        self._letters = letters
        self._topic = topic
        self._lanes = lanes
        self._partitions = partitions
        self._wait_s = FIRST_WAIT_S

    async def run(self) -> None:
        """Follow until cancelled, or until every lane has stopped."""
        while self._lanes:
            await self._attempt()
            self._lanes = [lane for lane in self._lanes if not lane.stopped]

    async def _attempt(self) -> None:
        try:
            await self._follow()
        except Overtaken as fault:
            log.info("another projector was quicker", topic=self._topic, detail=fault.detail)
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
        reached = {p: min(lane.reached[p] for lane in self._lanes) for p in range(self._partitions)}
        async with open_reader(self._settings, self._decoder, self._letters, self._topic, reached) as reader:
            await self._pump(reader)

    async def _pump(self, reader: Reader) -> None:
        """Read the next batch while this one is written."""
        upcoming = asyncio.create_task(reader.read())
        try:
            while not all(lane.stopped for lane in self._lanes):
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
        for outcome in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(outcome, Problem):
                raise outcome
            if isinstance(outcome, BaseException):
                raise outcome
