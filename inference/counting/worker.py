"""The role `counter`: keeps the counts of what follows what up to date with the log.

At each start it counts the log from its beginning, while serving goes on with what the table holds: from the gists of
closed pieces that it kept (`inference.counting.gists`), and from the log what is not kept. Rows and positions change
together, so what is read is always the state at exactly those positions.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence

import psycopg
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from prometheus_client import Counter, Gauge

from inference.counting.fold import CoOccurrence, Met
from inference.counting.gist import Gist
from inference.counting.gists import Gists, Told
from inference.counting.names import Names
from inference.counting.table import Place, Table
from inference.counting.words import Words
from inference.datasets.dataset import INTERACTIONS, PROFILES
from infra.ending import ended
from infra.health import Health
from infra.kafka.consumer import open_consumer
from infra.kafka.ranges import ranges_now
from infra.kafka.records import Decoder, from_aiokafka
from infra.kafka.topics import logical, physical
from infra.kafka.watch import watched
from infra.postgres import away, connect
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.envelope import Recorded
from schemas.errors import Problem, Unavailable
from schemas.interactions import InteractionRecorded
from schemas.models import OffsetRange
from schemas.profiles import ConsentGiven, ConsentWithdrawn, UserErased

POLL_MS = 200
AT_ONCE = 5000
"""Records folded between two writes."""

MANY = 1 << 24
"""Interactions that are folded at once at the start: the fewer sums, the faster, but all stand in memory."""

RETRY_S = 1.0

KEEP_EVERY_S = 30.0
"""Time between two looks for pieces of the log that have been closed and are to be kept."""

COUNTED = Counter("retrace_counter_interactions_total", "Interactions folded into the counts.")
PAIRS = Gauge("retrace_counter_pairs", "Pairs of items that are counted.")
SECONDS = Gauge("retrace_counter_start_seconds", "Time that counting the log from its beginning took.")

log = structlog.get_logger()


async def work(settings: Settings, health: Health) -> None:
    """Count until cancelled; what is away is waited for.

    Raises:
        Incompatible: an event cannot be read; nothing is skipped.
    """
    health.failed("counts", "not counted yet")
    while True:
        try:
            await _own(settings, health)
        except (Unavailable, psycopg.OperationalError) as fault:
            detail = fault.detail if isinstance(fault, Unavailable) else away(fault).detail
            log.warning("waiting", cause=detail)
            health.failed("counts", detail)
        await asyncio.sleep(RETRY_S)


async def _own(settings: Settings, health: Health) -> None:
    """Count as long as nobody else does and everything answers."""
    decoder = await open_decoder(settings)
    async with await connect(settings, "counter") as connection:
        table = Table(connection)
        if not await table.claim(settings.postgres.db_schema):
            health.ok("counts", "another counter counts; this one stands by")
            return
        began = time.monotonic()
        gists = Gists(settings, decoder)
        fold, reached = await counted_so_far(gists, await ranges_now(settings, {INTERACTIONS, PROFILES}))
        await table.write([(item, fold.kept(item)) for item in fold.changed()], reached, anew=True)
        SECONDS.set(time.monotonic() - began)
        health.ok("counts")
        keeping = asyncio.create_task(_keep(gists, reached))
        try:
            async with watched(settings, health, INTERACTIONS):
                await _follow(settings, decoder, fold, table, reached)
        finally:
            await ended(keeping)


async def counted_so_far(
    gists: Gists, ranges: Sequence[OffsetRange], *, kept: bool = True
) -> tuple[CoOccurrence, dict[Place, int]]:
    """The counts of exactly these ranges, and where they end.

    Args:
        kept: as `Gists.of`.

    Raises:
        Invalid: a range is not within the log.
        Incompatible: an event cannot be read.
        Unavailable: brokers or registry do not answer.
    """
    fold = CoOccurrence()
    for part in (r for r in ranges if r.topic == PROFILES):
        (told,) = await gists.of([part], kept=kept)
        _hear(fold, told)
    waiting: list[Gist] = []
    for part in (r for r in ranges if r.topic == INTERACTIONS):
        (told,) = await gists.of([part], kept=kept)
        log.info("boiled down", partition=part.partition, interactions=part.end, read=told.read)
        waiting += told.gists
        if sum(gist.table.num_rows for gist in waiting) >= MANY:
            await asyncio.to_thread(fold.meet_all, waiting)
            waiting = []
    await asyncio.to_thread(fold.meet_all, waiting)
    return fold, {(r.topic, r.partition): r.end for r in ranges}


def _hear(fold: CoOccurrence, told: Told) -> None:
    users = Names()
    words = Words(users)
    words.add(told.gists, told.part.end)
    for user in words.withdrawn(told.part.end):
        fold.consent(users.names[user], training=False)
    for user in words.erased(told.part.end):
        fold.erase(users.names[user])


async def _follow(
    settings: Settings, decoder: Decoder, fold: CoOccurrence, table: Table, reached: dict[Place, int]
) -> None:
    """Fold what comes, for ever.

    Raises:
        Unavailable: Kafka or the registry is away.
    """
    places = {TopicPartition(physical(settings, topic), number): at for (topic, number), at in reached.items()}
    async with open_consumer(settings, fetch_max_wait_ms=POLL_MS) as consumer:
        consumer.assign(list(places))
        for place, offset in places.items():
            consumer.seek(place, offset)
        while True:
            folded = await _take(settings, decoder, consumer, fold)
            moved = {place: offset for place, offset in folded.items() if reached.get(place) != offset}
            if moved:
                rows = [(item, fold.kept(item)) for item in fold.changed()]
                await table.write(rows, moved)
                reached.update(moved)
                PAIRS.set(len(fold))


async def _keep(gists: Gists, reached: Mapping[Place, int]) -> None:
    """Keep the gist of each piece of the log once it is closed, for ever; what fails is tried again."""
    kept: dict[Place, int] = {}
    while True:
        for (topic, partition), end in list(reached.items()):
            first = kept.get((topic, partition), 0)
            try:
                part = OffsetRange(topic=topic, partition=partition, first=first, end=end)
                kept[topic, partition] = await gists.keep(part)
            except Problem as problem:
                log.warning("not kept", topic=topic, partition=partition, cause=problem.detail)
        await asyncio.sleep(KEEP_EVERY_S)


async def _take(
    settings: Settings, decoder: Decoder, consumer: AIOKafkaConsumer, fold: CoOccurrence
) -> Mapping[Place, int]:
    """Fold what one poll brings; how far each partition has come."""
    fetched = await consumer.getmany(timeout_ms=POLL_MS, max_records=AT_ONCE)
    raws = [from_aiokafka(r, settings.topic_prefix) for records in fetched.values() for r in records]
    await decoder.learn(raws)
    events = [decoder.decode(raw) for raw in raws if raw.tenant == settings.tenant]
    fold_all(fold, [one for one in events if one is not None])
    return {(logical(settings, place.topic), place.partition): await consumer.position(place) for place in fetched}


def fold_all(fold: CoOccurrence, events: list[Recorded]) -> None:
    """Fold events of both topics, those of one partition in their order."""
    for one in events:
        event = one.event
        if isinstance(event, ConsentGiven | ConsentWithdrawn) and event.purpose == "training":
            fold.consent(event.user_id, training=isinstance(event, ConsentGiven))
        elif isinstance(event, UserErased):
            fold.erase(event.user_id)
    meetings = [_met(one) for one in events if isinstance(one.event, InteractionRecorded)]
    fold.meet(meetings)
    COUNTED.inc(len(meetings))


def _met(one: Recorded) -> Met:
    event: InteractionRecorded = one.event
    at_us = round(event.occurred_at.timestamp() * 1_000_000)
    return Met(str(one.meta.id), event.user_id, event.item_id, event.kind, at_us)
