"""The processor on real Kafka: two owners at once, one killed with -9, and commands that nobody can read."""

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from structlog.testing import capture_logs

from commands.aggregates.user import AGGREGATE, User
from commands.api.sender import CommandSender
from commands.processor import worker
from commands.processor.inbox import Inbox
from commands.processor.memory import Limits, Memory
from commands.processor.owner import Owner
from commands.processor.snapshot import Snapshot, state_decoder
from infra.health import Health
from infra.kafka.append import Entry, Landed
from infra.kafka.connect import aiokafka_options
from infra.kafka.consumer import make_consumer
from infra.kafka.deadletters import DeadLetters, Letters
from infra.kafka.decided import KafkaLog, batch_producer
from infra.kafka.facts import FactWriter
from infra.kafka.records import Decoder, Raw, from_aiokafka
from infra.kafka.topics import physical
from infra.registry.enlist import open_decoder
from infra.settings import Settings, child_environment
from schemas.deadletters import RecordDeadLettered
from schemas.envelope import EXPECTED_OFFSET, Meta
from schemas.identity import derived_id
from schemas.outcomes import CommandRejected, CommandRepeated
from schemas.profiles import RegisterUser
from schemas.topics import TOPICS

from ..eventually import eventually
from ..roles import running
from .writing import patient


@pytest.fixture
def one_partition(settings: Settings) -> Settings:
    """Everything on one partition, so that two owners have to meet."""
    return patient(settings).model_copy(update={"kafka": settings.kafka.model_copy(update={"partitions": 1})})


def registration(user_id: str) -> tuple[RegisterUser, Meta]:
    meta = Meta(
        id=uuid4(),
        type=RegisterUser.AVRO,
        source="test",
        subject=user_id,
        time=datetime.now(UTC),
        fingerprint=user_id,
    )
    return RegisterUser(user_id=user_id), meta


async def written(settings: Settings, topic: str, partition: int = 0) -> list[Raw]:
    """Every record of a partition."""
    at = TopicPartition(physical(settings, topic), partition)
    async with make_consumer(settings) as consumer:
        consumer.assign([at])
        end = (await consumer.end_offsets([at]))[at]
        await consumer.seek_to_beginning(at)
        found: list[Raw] = []
        while await consumer.position(at) < end:
            for record in (await consumer.getmany(at, timeout_ms=500)).get(at, []):
                found.append(from_aiokafka(record, settings.topic_prefix))
        return found


def answers(records: Sequence[Raw]) -> Counter[int | None]:
    """How often each command offset was answered, by what counts."""
    return Counter(Meta.of(raw.headers).command_offset for raw in records if raw.counts)


async def until_answered(settings: Settings, topic: str, number: int, timeout_s: float = 120) -> list[Raw]:
    """The records of partition 0, as soon as that many commands are answered."""
    async with asyncio.timeout(timeout_s):
        while len(answers(records := await written(settings, topic))) < number:
            await asyncio.sleep(0.2)
    return records


class Open:
    """A tap that lets everything through."""

    async def open_at(self, offset: int, inbox: Inbox) -> None:
        """Nothing to do."""

    def open(self) -> None:
        """Nothing to do."""


@asynccontextmanager
async def owner(settings: Settings, decoder: Decoder, letters: Letters) -> AsyncIterator[Owner]:
    """An owner of profiles/0, with a connection of its own as a process of its own would have."""
    async with batch_producer(settings) as producer:
        log = KafkaLog(settings, producer, TOPICS["profiles"], 0)
        snapshot = Snapshot(settings.snapshots, "profiles-0", "", state_decoder("user", User))
        memory = Memory(AGGREGATE, 0, decoder.codec, snapshot, Limits(10, 10, 1))
        mine = Owner(AGGREGATE, 0, log, decoder, letters, Health("test"), Open(), memory)
        mine.start()
        try:
            yield mine
        finally:
            await mine.stop()


async def test_two_owners_of_one_partition_answer_each_command_once(one_partition: Settings) -> None:
    """A rebalance can leave two owners for a while; what the overtaken one writes is void."""
    decoder = await open_decoder(one_partition)
    async with (
        CommandSender(one_partition, decoder.codec) as sender,
        FactWriter(one_partition, decoder.codec) as writer,
        owner(one_partition, decoder, DeadLetters(writer)) as first,
        owner(one_partition, decoder, DeadLetters(writer)) as second,
    ):

        async def both_wait() -> bool:
            return first.health.ready and second.health.ready

        await eventually(both_wait)
        for number in range(60):
            await sender.send(*registration(f"u{number % 40}"))
        for raw in await written(one_partition, "profiles.commands"):
            first.inbox.put([raw])
            second.inbox.put([raw])
            await asyncio.sleep(0.002)
        records = await until_answered(one_partition, "profiles", 60)
    assert set(answers(records).values()) == {1}
    types = Counter(Meta.of(raw.headers).type.rpartition(".")[2] for raw in records if raw.counts)
    assert types == {"UserRegistered": 40, "CommandRejected": 20}
    assert any(not raw.counts for raw in records), "the two never met: the test shows nothing"


async def test_a_batch_that_comes_late_is_void(one_partition: Settings) -> None:
    """A packet that was held up for an hour may not change history."""
    decoder = await open_decoder(one_partition)
    late = Entry(b"u", decoder.codec.encode(registration("u")[0]), [(EXPECTED_OFFSET, b"0")])
    on_time = Entry(b"u", late.value, [(EXPECTED_OFFSET, b"0")])
    async with batch_producer(one_partition, timeout_s=60) as producer:
        log = KafkaLog(one_partition, producer, TOPICS["profiles"], 0)
        assert await log.append([on_time]) == Landed(0)
        assert await log.append([late]) == Landed(1)
        page = await log.read(0)
    assert [raw.counts for raw in page.records] == [True, False]
    assert (page.next_offset, page.at_end) == (2, True)


async def test_a_killed_processor_loses_and_repeats_nothing(one_partition: Settings) -> None:
    """Kill -9 between deciding and acknowledging is the moment that counts; it is hit by chance, many times over."""
    decoder = await open_decoder(one_partition)
    environment = child_environment(one_partition)
    running = [started(environment)]
    try:
        async with CommandSender(one_partition, decoder.codec) as sender:
            await sender.send(*registration("first"))
            await until_answered(one_partition, "profiles", 1)
            for number in range(300):
                await sender.send(*registration(f"u{number}"))
                if number == 150:
                    running[0].kill()
                    running.append(started(environment))
        records = await until_answered(one_partition, "profiles", 301)
    finally:
        for process in running:
            process.kill()
            process.wait()
    assert set(answers(records).values()) == {1}
    registered = [raw.key for raw in records if raw.counts]
    assert sorted(registered) == sorted(["first", *(f"u{number}" for number in range(300))])


def garble(folder: Path) -> None:
    """A disk that forgot, the write-ahead log too: it may hold every page, and then nothing is lost."""
    for path in folder.glob("*profiles-0.*.sqlite*"):
        path.write_bytes(b"garbage" * 1000)


def exchange(folder: Path) -> None:
    """The file of another topic under the name of this one; nothing has happened to that topic."""
    for path in folder.glob("*profiles-0.*.sqlite*"):
        path.unlink()
    for path in folder.glob("*catalog-0.*.sqlite*"):
        path.rename(path.with_name(path.name.replace("catalog", "profiles")))


def leave(folder: Path) -> None:
    """Nothing happens to it."""


@pytest.mark.parametrize("damage", [leave, garble, exchange])
async def test_a_killed_processor_goes_on_from_its_snapshot(
    one_partition: Settings, damage: Callable[[Path], None]
) -> None:
    """What the snapshot lacks is in the log; what it has need not be read again, if it is the right one."""
    quick = one_partition.processor.model_copy(update={"snapshot_s": 0.01, "aggregates": 5, "answers": 5})
    settings = one_partition.model_copy(update={"processor": quick})
    decoder = await open_decoder(settings)
    async with CommandSender(settings, decoder.codec) as sender:
        process = started(child_environment(settings))
        try:
            for number in range(50):
                await sender.send(*chosen(f"u{number}"))
            await until_answered(settings, "profiles", 50)
            await sender.send(*chosen("last"))  # the one before it is written when this is taken
            await until_answered(settings, "profiles", 51)
            await eventually(lambda: is_kept(settings.snapshots))
        finally:
            process.kill()
            process.wait()
        damage(settings.snapshots)
        with capture_logs() as logs:
            async with running(worker.work, settings, "processor"):
                for number in range(50):
                    await sender.send(*chosen(f"u{number}"))
                records = await until_answered(settings, "profiles", 101)
    opened = [line["offset"] for line in logs if line["event"] == "snapshot opened" and line["topic"] == "profiles"]
    thrown_away = [line for line in logs if line["event"] == "snapshot thrown away" and line["topic"] == "profiles"]
    assert [0 < offset <= 51 for offset in opened] == ([True] if damage is leave else [])
    assert len(thrown_away) == (damage is garble)
    types = Counter(Meta.of(raw.headers).type.rpartition(".")[2] for raw in records if raw.counts)
    assert types == {"UserRegistered": 51, "CommandRepeated": 50}
    events = [recorded.event for raw in records if (recorded := decoder.decode(raw)) is not None]
    repeated = [event.first_offset for event in events if isinstance(event, CommandRepeated)]
    assert repeated == list(range(50))


async def is_kept(folder: Path) -> bool:
    """Whether there is a snapshot: it is written by a thread that nobody waits for."""
    (path,) = folder.glob("*profiles-0.*.sqlite")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return bool(connection.execute("SELECT * FROM checkpoint").fetchall())


def chosen(user_id: str) -> tuple[RegisterUser, Meta]:
    """A registration with an id that may come again."""
    command, meta = registration(user_id)
    return command, replace(meta, id=derived_id("default", user_id))


def started(environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    """A processor as a process of its own."""
    command = [sys.executable, "-m", "console", "serve", "processor"]
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)


async def test_a_command_that_cannot_be_read_is_answered_and_kept(one_partition: Settings) -> None:
    """It may not hold up the partition, be lost, or leave its sender without an answer."""
    decoder = await open_decoder(one_partition)
    topic = physical(one_partition, "profiles.commands")
    command, meta = registration("u")
    bad: list[tuple[bytes | None, Any]] = [
        (b"\x00\x00\x00\x00\x63garbage", meta.headers()),
        (b"no framing", []),
        (None, meta.headers()),
        (decoder.codec.encode(command)[:-1], meta.headers()),
        (decoder.codec.encode(RegisterUser(user_id="another")), meta.headers()),
    ]
    async with AIOKafkaProducer(**aiokafka_options(one_partition.kafka)) as producer:
        for value, headers in bad:
            await producer.send_and_wait(topic, value, key=b"u", headers=headers)
    async with running(worker.work, one_partition, "processor"), CommandSender(one_partition, decoder.codec) as sender:
        await sender.send(command, meta)
        records = await until_answered(one_partition, "profiles", 6)
    events = [recorded.event for raw in records if (recorded := decoder.decode(raw)) is not None]
    assert [type(event).__name__ for event in events] == ["CommandRejected"] * 5 + ["UserRegistered"]
    assert all(isinstance(event, CommandRejected) and event.status == 500 for event in events[:5])
    letters = [decoder.codec.decode(raw.value or b"") for raw in await written(one_partition, "dead-letters")]
    assert {letter.offset for letter in letters if isinstance(letter, RecordDeadLettered)} == set(range(5))


async def test_a_partition_is_as_healthy_as_it_says(one_partition: Settings) -> None:
    """Red with its cause when an event cannot be read, and the other partitions go on."""
    await open_decoder(one_partition)
    entry = Entry(b"u", b"garbage", [(EXPECTED_OFFSET, b"0")])
    async with batch_producer(one_partition) as producer:
        await KafkaLog(one_partition, producer, TOPICS["profiles"], 0).append([entry])
    async with running(worker.work, one_partition, "processor") as health:

        async def told() -> bool:
            red, green = (health.components.get(f"{topic}/0") for topic in ("profiles", "catalog"))
            return red is not None and "bad_framing" in red.cause and green is not None and green.ok

        await eventually(told, within_s=60)
        assert not health.ready
