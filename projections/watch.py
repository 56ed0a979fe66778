"""How far the read models are behind the log, in events and in seconds; and what else a runner tells regularly."""

import asyncio
import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from prometheus_client import Gauge
from psycopg import AsyncConnection

from infra.health import Health
from infra.kafka.connect import aiokafka_options
from infra.kafka.consumer import open_consumer
from infra.kafka.topics import physical
from infra.postgres import connect
from infra.settings import Settings
from infra.telemetry import LAG
from projections import checkpoint, parked
from projections.faults import translated
from projections.standing import Standing, forget_gone, record
from projections.view import Projection, topics_of
from schemas.errors import Unavailable
from schemas.topics import TOPICS

PARKED = Gauge("retrace_parked_events", "Events that a read model could not take, or that wait.", ["view", "role"])
PARKED_SECONDS = Gauge("retrace_parked_seconds", "How long the oldest event that could not be taken waits.", ["view"])
LAG_SECONDS = Gauge("retrace_lag_seconds", "Age of the oldest record not read yet.", ["consumer", "topic", "partition"])

EVERY_S = 2.0
"""How often a runner says how it is."""

STALLED_AFTER_S = 30.0
"""A checkpoint that stands still for so long while there is something to fold is no longer `running`."""

PROBE_MS = 500
"""How long the oldest unread record of a partition is waited for."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Lag:
    """How far one read model is behind in one partition.

    Attributes:
        next_offset: first offset that it has not seen.
        events: records from there to the end of the log; a void one counts too.
        seconds: age of the first of them; 0 when there is none.
    """

    topic: str
    partition: int
    next_offset: int
    events: int
    seconds: float


class LogEnds:
    """Asks Kafka where partitions end, and how old records are.

    Args:
        consumer: used by nobody else.
    """

    def __init__(self, settings: Settings, consumer: AIOKafkaConsumer) -> None:
        self._settings = settings
        self._consumer = consumer
        self._lock = asyncio.Lock()

    async def lags(self, reached: Mapping[str, Mapping[int, int]]) -> list[Lag]:
        """How far these offsets, by topic and partition, are behind.

        Raises:
            Unavailable: the brokers do not answer.
        """
        async with self._lock:
            wanted = {(t, p): offset for t, partitions in reached.items() for p, offset in partitions.items()}
            ends = await self._ends(list(wanted))
            behind = {at: offset for at, offset in wanted.items() if ends[at] > offset}
            ages = await self._ages(behind)
        return [
            Lag(t, p, offset, max(ends[t, p] - offset, 0), ages.get((t, p), 0.0)) for (t, p), offset in wanted.items()
        ]

    async def _ends(self, partitions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        names = {TopicPartition(physical(self._settings, topic), p): (topic, p) for topic, p in partitions}
        try:
            async with asyncio.timeout(5):
                ends = await self._consumer.end_offsets(list(names)) if names else {}
        except (KafkaError, OSError, TimeoutError) as fault:
            raise Unavailable(f"Kafka at {self._settings.kafka.bootstrap} does not answer: {fault!r}") from fault
        return {names[partition]: end for partition, end in ends.items()}

    async def _ages(self, behind: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], float]:
        """Age in seconds of the record at each of these offsets; those that do not come in time are left out."""
        names = {TopicPartition(physical(self._settings, t), p): (t, p) for t, p in behind}
        if not names:
            return {}
        self._consumer.assign(list(names))
        for partition, at in names.items():
            self._consumer.seek(partition, behind[at])
        ages: dict[tuple[str, int], float] = {}
        until = time.monotonic() + PROBE_MS / 1000
        while names and time.monotonic() < until:
            try:
                fetched = await self._consumer.getmany(timeout_ms=50, max_records=len(names))
            except KafkaError:
                break
            for partition, records in fetched.items():
                if records and partition in names:
                    ages[names.pop(partition)] = max(0.0, time.time() - records[0].timestamp / 1000)
                    self._consumer.pause(partition)
        return ages


async def partitions_of(settings: Settings) -> dict[str, int]:
    """How many partitions each of our topics has.

    Raises:
        Unavailable: the brokers do not answer, or do not know a topic yet.
    """
    names = {physical(settings, topic): topic for topic in TOPICS}
    admin = AIOKafkaAdminClient(**aiokafka_options(settings.kafka))
    try:
        await admin.start()
        described = await admin.describe_topics(list(names))
    except (KafkaError, OSError) as fault:
        raise Unavailable(f"Kafka at {settings.kafka.bootstrap} does not answer: {fault!r}") from fault
    finally:
        await admin.close()
    if missing := [names[found["topic"]] for found in described if not found["partitions"]]:
        raise Unavailable(f"Kafka does not know the topics {', '.join(missing)} yet")
    return {names[found["topic"]]: len(found["partitions"]) for found in described}


async def reached_by(connection: AsyncConnection[Any], projection: Projection) -> dict[str, dict[int, int]]:
    """Checkpoints of a projection for the topics it reads; empty before its first start."""
    found = await checkpoint.load(connection, projection.name, projection.version)
    return {topic: found[topic] for topic in topics_of(projection) if topic in found}


class Movement:
    """Since when each checkpoint has stood where it stands."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, str, int], tuple[int, float]] = {}

    def stuck(self, view: str, lag: Lag) -> float:
        """For how many seconds a checkpoint has not moved though the log goes on; 0 when it has nothing to do."""
        at = (view, lag.topic, lag.partition)
        offset, since = self._since.get(at, (-1, 0.0))
        if offset != lag.next_offset or not lag.events:
            self._since[at] = (lag.next_offset, time.monotonic())
            return 0.0
        return time.monotonic() - since


async def watch(settings: Settings, standings: Sequence[Standing], health: Health) -> None:
    """Measure lag and write the states, again and again, until cancelled. Faults are told, and tried again."""
    worker, movement = f"{socket.gethostname()}/{os.getpid()}/{uuid4().hex[:8]}", Movement()
    while True:
        try:
            async with open_consumer(settings) as consumer, await connect(settings, "projector watch") as connection:
                await checkpoint.prepare(connection, settings.postgres.db_schema)
                await forget_gone(connection)
                await _watch(LogEnds(settings, consumer), connection, standings, health, worker, movement)
        except Unavailable as fault:
            health.failed("log and checkpoints", fault.detail)
        await asyncio.sleep(EVERY_S)


async def _watch(
    ends: LogEnds,
    connection: AsyncConnection[Any],
    standings: Sequence[Standing],
    health: Health,
    worker: str,
    movement: Movement,
) -> None:
    while True:
        with translated("projection_workers"):
            await record(connection, worker, standings)
            await _tell_parked(connection, standings)
            for standing in standings:
                _tell(standing, await ends.lags(await reached_by(connection, standing.projection)), movement)
        health.ok("log and checkpoints")
        await asyncio.sleep(EVERY_S)


async def _tell_parked(connection: AsyncConnection[Any], standings: Sequence[Standing]) -> None:
    aside = await parked.count(connection)
    for standing in standings:
        projection = standing.projection
        waiting = aside.get((projection.name, projection.version), parked.Waiting())
        PARKED.labels(projection.name, "poison").set(waiting.poison)
        PARKED.labels(projection.name, "waiting").set(waiting.waiting)
        PARKED_SECONDS.labels(projection.name).set(waiting.oldest_s)
        standing.notes(waiting.note(projection.name))


def _tell(standing: Standing, lags: Sequence[Lag], movement: Movement) -> None:
    name = standing.projection.name
    for lag in lags:
        LAG.labels(name, lag.topic, lag.partition).set(lag.events)
        LAG_SECONDS.labels(name, lag.topic, lag.partition).set(lag.seconds)
        if (stuck_s := movement.stuck(name, lag)) > STALLED_AFTER_S:
            where = f"{lag.topic}/{lag.partition} at offset {lag.next_offset}"
            standing.stalls(f"{where} has not moved for {stuck_s:.0f} s, with {lag.events} records to fold")
