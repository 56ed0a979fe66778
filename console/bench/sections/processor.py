"""Inside the processor of commands: decisions from topic to topic, and its state from the log and from a snapshot."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from uuid import UUID

from aiokafka import AIOKafkaProducer
from uuid6 import uuid7

from commands.aggregates.user import AGGREGATE
from commands.processor import worker
from commands.processor.catchup import catch_up
from commands.processor.memory import Limits, Memory
from commands.processor.owner import DECIDED
from commands.processor.snapshot import Snapshot, state_decoder
from commands.processor.stamp import stamp_of, state_type
from commands.protocol.writer import Read, write
from console.bench import synthetic
from console.bench.bench import Bench, Measure, Section
from console.bench.figure import OURS, Figure, Sample, at_least, peers_of, runs_of
from infra.health import Health
from infra.kafka.connect import aiokafka_options
from infra.kafka.decided import KafkaLog, batch_producer
from infra.kafka.ranges import ranges_now
from infra.kafka.records import Decoder
from infra.kafka.topics import physical
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.codec import Codec
from schemas.envelope import DEFAULT_TENANT, Meta
from schemas.errors import Problem
from schemas.profiles import ChangePreferences, ProfilesCommand, RegisterUser
from schemas.topics import TOPICS

NAME = "processor"
PEOPLE = 2_000
AT_ONCE = 5_000
LOOK_S = 0.005
LONGEST_S = 300


async def run(bench: Bench) -> list[Figure]:
    """Let commands that wait in Kafka be decided, then let everybody forget and restore."""
    settings = bench.corner(NAME)
    decoder = await open_decoder(settings)
    participants: dict[str, Measure] = {OURS: partial(ours, settings, decoder, bench.sizes.log // 2)}
    if bench.has_eventsourcing:
        participants["eventsourcing"] = partial(eventsourcing, settings, bench.sizes.few)
    samples = await bench.alternate(NAME, participants, warm_up=True)
    goals = {"decisions": 15_000, "restored from the log": None, "restored from a snapshot": 200_000}
    notes = {
        "decisions": "from Kafka to Kafka, durable; a quiet processor, with the broker on the same machine",
        "restored from the log": "until the next command can be decided",
        "restored from a snapshot": "and all aggregates loaded, which takes place when they are needed",
    }
    return [
        Figure(
            section=NAME,
            name=name,
            unit="per second",
            better="higher",
            runs=runs_of(samples, OURS, name),
            asked=None if goal is None else at_least(goal),
            peers=peers_of(samples, name),
            note=notes[name],
        )
        for name, goal in goals.items()
    ]


async def ours(settings: Settings, decoder: Decoder, count: int) -> Sample:
    """One run: commands wait, are decided, and all that was ever decided is restored."""
    await send(settings, decoder.codec, count)
    decided = await decide(settings, count)
    with tempfile.TemporaryDirectory(prefix="retrace-bench-") as folder:
        from_log = await restore(settings, decoder, Path(folder), ())
        people = [(DEFAULT_TENANT, user_id) for user_id in synthetic.user_ids(PEOPLE)]
        from_snapshot = await restore(settings, decoder, Path(folder), people)
    return {"decisions": decided, "restored from the log": from_log, "restored from a snapshot": from_snapshot}


async def send(settings: Settings, codec: Codec, count: int) -> None:
    """Let so many commands wait, as the command API would have written them."""
    people = synthetic.user_ids(PEOPLE)
    waiting = (_command(people[number % PEOPLE], number) for number in range(count))
    topic = physical(settings, TOPICS[AGGREGATE.topic].commands)
    async with AIOKafkaProducer(**aiokafka_options(settings.kafka), acks="all", linger_ms=5) as producer:
        while some := list(islice(waiting, AT_ONCE)):
            sent = [
                await producer.send(topic, codec.encode(one), key=one.user_id.encode(), headers=_headers(one))
                for one in some
            ]
            await asyncio.gather(*sent)


def _command(user_id: str, number: int) -> ProfilesCommand:
    """First everybody registers; in later runs that is refused, which is a decision too."""
    if number < PEOPLE:
        return RegisterUser(user_id=user_id)
    favourites = (f"category-{number % 7}", f"category-{number % 11}")
    return ChangePreferences(user_id=user_id, favourite_categories=favourites, language="en")


def _headers(command: ProfilesCommand) -> list[tuple[str, bytes]]:
    id = UUID(int=uuid7().int)
    return Meta(
        id=id,
        type=command.AVRO,
        source="retrace/bench",
        subject=command.user_id,
        time=datetime.now(UTC),
        actor="bench",
        correlation_id=str(id),
        fingerprint="0123456789abcdef01234567",
    ).headers()


async def decide(settings: Settings, count: int) -> float:
    """Let a processor of this process decide what waits; commands per second, once it has joined its group.

    Raises:
        Problem: it did not come to an end.
    """
    before, began, elapsed_s = answered(), time.perf_counter(), 0.0
    async with _processor(settings), asyncio.timeout(LONGEST_S):
        while True:
            done = answered() - before
            if not done:
                began = time.perf_counter()
            elif done >= count:
                elapsed_s = time.perf_counter() - began
                break
            await asyncio.sleep(LOOK_S)
    if done > count:
        raise Problem(f"{count} commands were sent and {done:.0f} answered")
    return count / elapsed_s


def answered() -> float:
    """Commands that this process has answered."""
    samples = [sample for metric in DECIDED.collect() for sample in metric.samples]
    return sum(sample.value for sample in samples if sample.name.endswith("_total"))


@asynccontextmanager
async def _processor(settings: Settings) -> AsyncIterator[None]:
    task = asyncio.create_task(worker.work(settings, Health(NAME)))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def restore(settings: Settings, decoder: Decoder, folder: Path, load: Sequence[tuple[str, str]]) -> float:
    """Come to where the next command of every partition can be decided; events in the log per second.

    Args:
        folder: of the snapshots: it has none, or those of the call before.
        load: aggregates to load as well.
    """
    parts = await ranges_now(settings, [AGGREGATE.topic])
    began = time.perf_counter()
    memories = await asyncio.gather(*(_restored(settings, decoder, folder, part.partition) for part in parts))
    for memory in memories:
        memory.state.expect(load, ())
    elapsed_s = time.perf_counter() - began
    for memory in memories:
        await memory.close()
    return sum(memory.state.next_offset for memory in memories) / elapsed_s


async def _restored(settings: Settings, decoder: Decoder, folder: Path, partition: int) -> Memory:
    """As an owner begins: the snapshot, the log by columns, and the conversation until it asks for commands."""
    memory = _memory(decoder.codec, folder, partition)
    async with batch_producer(settings) as producer:
        log = KafkaLog(settings, producer, TOPICS[AGGREGATE.topic], partition)
        await memory.recall(log, decoder)
        await catch_up(settings, AGGREGATE, partition, decoder, memory)
        conversation = write(AGGREGATE, decoder, memory.state)
        ask = next(conversation)
        while isinstance(ask, Read):
            ask = conversation.send(await log.read(ask.start))
        await log.close()
    return memory


def _memory(codec: Codec, folder: Path, partition: int) -> Memory:
    states = state_decoder(AGGREGATE.name, state_type(AGGREGATE))
    snapshot = Snapshot(folder, f"{AGGREGATE.topic}-{partition}", stamp_of(AGGREGATE), states)
    return Memory(AGGREGATE, partition, codec, snapshot, Limits(100_000, 200_000, 1e9))


async def eventsourcing(settings: Settings, count: int) -> Sample:
    """The same decisions in this process, then all its people from the database again."""
    from console.bench.peers import eventsourcing as library

    def measured() -> tuple[float, float]:
        with library.schema(settings, NAME) as environment:
            return library.decide_and_restore(environment, synthetic.user_ids(min(PEOPLE, count // 5)), count)

    decided, restored = await asyncio.to_thread(measured)
    return {"decisions": decided, "restored from the log": restored}


SECTION = Section(NAME, 2, ("kafka", "postgres", "registry"), run)
