"""The role on real Kafka: interactions in, features out, whatever happens to the process."""

import asyncio
import json
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from uuid6 import uuid7

from infra.kafka.connect import aiokafka_options
from infra.kafka.consumer import make_consumer
from infra.kafka.facts import FactWriter
from infra.kafka.records import Decoder, from_aiokafka
from infra.kafka.topics import physical
from infra.registry.enlist import open_decoder
from infra.settings import Settings, child_environment
from schemas.deadletters import RecordDeadLettered
from schemas.envelope import Meta, Recorded
from schemas.interactions import InteractionRecorded
from streams.keeper import STATE_FILE

from ..eventually import eventually

START = datetime(1998, 4, 1, tzinfo=UTC)
DAYS = 3
Fact = tuple[InteractionRecorded, Meta]


@asynccontextmanager
async def worker(settings: Settings, log_file: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """`retrace serve streams` in a process of its own."""
    with log_file.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "console", "serve", "streams", env=child_environment(settings), stderr=log, stdout=log
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def facts(seed: int, number: int, day: int) -> list[Fact]:
    """Interactions of one day, in time order; some ids are chosen by the client and come twice."""
    chance = random.Random(seed)
    made = [_fact(chance, f"{seed}-{n}", day) for n in range(number)]
    made.sort(key=lambda fact: fact[0].occurred_at)
    return [copy for fact in made for copy in ([fact, fact] if fact[1].id.version == 5 else [fact])]


def _fact(chance: random.Random, name: str, day: int) -> Fact:
    user, item = f"user-{chance.randrange(200)}", f"item-{int(chance.paretovariate(1.2)) % 300}"
    at = START + timedelta(days=day, seconds=chance.uniform(0, 86_400))
    event = InteractionRecorded(user_id=user, item_id=item, kind="view", occurred_at=at)
    id = uuid5(UUID(int=7), name) if chance.random() < 0.05 else uuid7()
    return event, Meta(id=id, type=event.AVRO, source="test", subject=user, time=datetime.now(UTC))


async def read_all(settings: Settings, decoder: Decoder, topic: str) -> list[Recorded]:
    """Everything on a topic now, by the order of each partition."""
    async with make_consumer(settings) as consumer:
        name = physical(settings, topic)
        consumer.assign([TopicPartition(name, p) for p in range(settings.kafka.partitions)])
        ends = await consumer.end_offsets(consumer.assignment())
        found: list[Recorded] = []
        while any([await consumer.position(p) < end for p, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += [_decoded(decoder, record, settings) for record in records]
    return found


def _decoded(decoder: Decoder, record: Any, settings: Settings) -> Recorded:
    recorded = decoder.decode(from_aiokafka(record, settings.topic_prefix))
    assert recorded is not None
    return recorded


async def kept(settings: Settings, number: int) -> None:
    """Wait until the worker's kept state includes so many records."""
    file = settings.data_dir / "streams" / settings.topic_prefix / STATE_FILE

    async def includes() -> bool:
        return file.exists() and sum(end for _, _, end in json.loads(file.read_bytes())["next"]) == number

    await eventually(includes, within_s=120, every_s=0.05)


def newest_window(given: Sequence[Fact]) -> tuple[datetime, dict[str, tuple[int, float]]]:
    """The newest day-long window by the definition: its end, count and score of each item."""
    times = {meta.id: (event.item_id, event.occurred_at) for event, meta in given}.values()
    newest = max(at for _, at in times)
    end = newest.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    day = timedelta(days=1)
    now = Counter(item for item, at in times if end - day <= at < end)
    past = Counter(item for item, at in times if end - 2 * day <= at < end - day)
    return end, {item: (n, (n + 5.0) / (past[item] + 5.0)) for item, n in now.items()}


@pytest.mark.timeout(600)
async def test_interactions_become_trends_through_a_kill(settings: Settings, tmp_path: Path) -> None:
    """The whole of it: nothing lost and nothing counted twice by a kill -9 between keeping and telling."""
    decoder = await open_decoder(settings)
    given = [facts(day, 4000, day) for day in range(DAYS)]
    every = [fact for day in given for fact in day]
    log_file = tmp_path / "streams.log"
    async with FactWriter(settings, decoder.codec, linger_ms=5, timeout_s=60) as writer:
        async with worker(settings, log_file) as process:
            await writer.append_all(given[0] + given[1])
            await kept(settings, len(given[0] + given[1]))
            told = len(await read_all(settings, decoder, "features"))
            await writer.append_all(given[2])
            while len(await read_all(settings, decoder, "features")) == told:
                await asyncio.sleep(0.05)
            process.send_signal(signal.SIGKILL)
            await process.wait()
        async with worker(settings, log_file) as process:
            await kept(settings, len(every))
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0, log_file.read_text()
    measured = await read_all(settings, decoder, "features")
    end, expected = newest_window(every)
    last = {m.event.item_id: (m.event.interactions, m.event.score) for m in measured if m.event.window_end == end}
    assert {item: expected[item] for item in last} == last
    best = sorted(expected, key=lambda item: (expected[item][1], expected[item][0], item), reverse=True)[:20]
    assert set(best) <= last.keys()
    assert all(a.event == b.event for a, b in _same_ids(measured))
    assert {m.meta.source for m in measured} == {"retrace/streams/trending"}


async def test_a_record_that_cannot_be_read_is_set_aside(settings: Settings, tmp_path: Path) -> None:
    """One poison record neither stops the stream nor vanishes."""
    decoder = await open_decoder(settings)
    given = facts(1, 50, 0)
    async with FactWriter(settings, decoder.codec) as writer:
        await writer.append_all(given[:25])
        await _append_garbage(settings)
        await writer.append_all(given[25:])
        async with worker(settings, tmp_path / "streams.log"):
            await kept(settings, len(given) + 1)
    letters: list[RecordDeadLettered] = [r.event for r in await read_all(settings, decoder, "dead-letters")]
    assert [(letter.consumer, letter.topic, letter.code) for letter in letters] == [
        ("streams", "interactions", "bad_framing")
    ]


async def _append_garbage(settings: Settings) -> None:
    async with AIOKafkaProducer(**aiokafka_options(settings.kafka)) as producer:
        await producer.send_and_wait(physical(settings, "interactions"), b"{not avro}", key=b"user-1")


async def test_a_worker_without_kafka_says_so(settings: Settings, tmp_path: Path) -> None:
    """It waits for Kafka rather than end, and whoever looks finds the cause, not a stack of a library."""
    away = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"bootstrap": "127.0.0.1:1"})})
    log_file = tmp_path / "streams.log"
    async with worker(away, log_file) as process, asyncio.timeout(120):
        while "127.0.0.1:1 does not answer" not in log_file.read_text():
            await asyncio.sleep(0.1)
        assert process.returncode is None
        assert "Traceback" not in log_file.read_text()


def _same_ids(measured: Sequence[Recorded]) -> list[tuple[Recorded, Recorded]]:
    first: dict[UUID, Recorded] = {}
    return [(first.setdefault(m.meta.id, m), m) for m in measured]
