"""The role `processor`: answers the commands of every partition that it is assigned.

The consumer group only spreads the work. Two owners at once, or one that wakes up late, do no harm: what they write
stands where nobody expects it.
"""

import asyncio
import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NoReturn

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

import commands.aggregates
from commands.aggregate import Aggregate
from commands.processor.catchup import catch_up
from commands.processor.inbox import Inbox
from commands.processor.memory import Limits, Memory
from commands.processor.owner import Owner
from commands.processor.snapshot import Snapshot, state_decoder
from commands.processor.stamp import stamp_of, state_type
from infra.discover import discover
from infra.health import Health
from infra.kafka.consumer import make_consumer, stopped
from infra.kafka.deadletters import DeadLetters, Letters
from infra.kafka.decided import KafkaLog, batch_producer
from infra.kafka.facts import FactWriter
from infra.kafka.past import recall
from infra.kafka.records import Decoder, Raw, from_aiokafka
from infra.kafka.topics import logical, physical
from infra.kafka.watch import watch
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.errors import Unavailable
from schemas.topics import COMMANDS_SUFFIX, TOPICS

GROUP = "processor"
SESSION_TIMEOUT_MS = 6000
GARBAGE_AFTER = 50_000
"""New objects between two looks for garbage in cycles, of which a decision makes none; it took a fifth of the time."""

log = structlog.get_logger()


def aggregates_by_topic() -> Mapping[str, Aggregate[Any, Any, Any]]:
    """Every aggregate, by the topic of its events."""
    return {aggregate.topic: aggregate for aggregate in discover(commands.aggregates, Aggregate).values()}


async def work(settings: Settings, health: Health) -> None:
    """Answer commands until cancelled."""
    health.failed("group", "joining")
    decoder = await open_decoder(settings)
    with _rare_collections():
        async with FactWriter(settings, decoder.codec) as writer, batch_producer(settings) as producer:
            await Processor(settings, health, decoder, producer, DeadLetters(writer)).run()


@contextmanager
def _rare_collections() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(GARBAGE_AFTER)
    try:
        yield
    finally:
        gc.set_threshold(*before)


class Processor(ConsumerRebalanceListener):  # type: ignore[misc]
    """A member of the group, with one `Owner` for each partition that it is assigned."""

    def __init__(
        self, settings: Settings, health: Health, decoder: Decoder, producer: AIOKafkaProducer, letters: Letters
    ) -> None:
        self._settings = settings
        self._health = health
        self._decoder = decoder
        self._producer = producer
        self._letters = letters
        self._aggregates = aggregates_by_topic()
        self._owners: dict[TopicPartition, Owner] = {}
        self._stamps = {name: stamp_of(one) for name, one in self._aggregates.items()}
        self._states = {name: state_decoder(one.name, state_type(one)) for name, one in self._aggregates.items()}
        self._consumer: AIOKafkaConsumer = make_consumer(
            settings,
            group=GROUP,
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=SESSION_TIMEOUT_MS // 4,
            fetch_max_wait_ms=250,
        )

    async def run(self) -> NoReturn:
        """Hand the commands to the owners of their partitions, for ever."""
        topics = [physical(self._settings, TOPICS[name].commands) for name in self._aggregates]
        self._consumer.subscribe(topics, listener=self)
        try:
            await self._consumer.start()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(watch(self._settings, self._health, self._consumer, self._any_partition))
                while True:
                    await self._hand_over()
        finally:
            await self._let_go(list(self._owners))
            await stopped(self._consumer)
            await self._let_go(list(self._owners))  # assigned in between, as happens after a long pause

    def _any_partition(self) -> TopicPartition | None:
        return next(iter(self._owners), None)

    async def _hand_over(self) -> None:
        try:
            got: Mapping[TopicPartition, Sequence[Any]] = await self._consumer.getmany(timeout_ms=1000)
        except KafkaError as fault:
            self._health.failed("group", f"commands cannot be read: {fault!r}")
            await asyncio.sleep(0.5)
            return
        self._health.ok("group", f"{len(self._owners)} partitions")
        for at, records in got.items():
            owner = self._owners.get(at)
            if owner is not None:
                owner.inbox.put([from_aiokafka(record, self._settings.topic_prefix) for record in records])
                if not owner.inbox.has_room:
                    self._consumer.pause(at)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Stop deciding for these partitions, at once."""
        await self._let_go(list(revoked))

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Begin to decide for these partitions, each from where its events say."""
        for at in assigned:
            self._consumer.pause(at)
            self._owners[at] = self._owner(at)
            self._owners[at].start()
        log.info("partitions assigned", partitions=[f"{at.topic}/{at.partition}" for at in self._owners])

    def _owner(self, at: TopicPartition) -> Owner:
        name = logical(self._settings, at.topic).removesuffix(COMMANDS_SUFFIX)
        return Owner(
            aggregate=self._aggregates[name],
            partition=at.partition,
            log=KafkaLog(self._settings, self._producer, TOPICS[name], at.partition),
            decoder=self._decoder,
            letters=self._letters,
            health=self._health,
            flow=Flow(self._settings, self._consumer, at),
            memory=self._memory(name, at.partition),
            catch_up=partial(catch_up, self._settings, self._aggregates[name], at.partition, self._decoder),
        )

    def _memory(self, name: str, partition: int) -> Memory:
        aggregate, settings = self._aggregates[name], self._settings.processor
        file = physical(self._settings, f"{name}-{partition}")
        snapshot = Snapshot(self._settings.snapshots, file, self._stamps[name], self._states[name])
        limits = Limits(settings.aggregates, settings.answers, settings.snapshot_s)
        return Memory(aggregate, partition, self._decoder.codec, snapshot, limits)

    async def _let_go(self, partitions: Sequence[TopicPartition]) -> None:
        owners = [owner for at in partitions if (owner := self._owners.pop(at, None)) is not None]
        await asyncio.gather(*(owner.stop() for owner in owners))


class Flow:
    """The tap of one command partition."""

    def __init__(self, settings: Settings, consumer: AIOKafkaConsumer, at: TopicPartition) -> None:
        self._settings = settings
        self._consumer = consumer
        self._at = at

    async def open_at(self, offset: int, inbox: Inbox) -> None:
        """Let commands come into the inbox, from `offset`; first those that Kafka has deleted and nobody has decided.

        Raises:
            Incompatible: the archive does not have them either.
            Unavailable: the brokers or the archive do not answer.
        """

        async def put(_: TopicPartition, raws: Sequence[Raw]) -> None:
            inbox.put(raws)

        try:
            inbox.clear()  # of an attempt that failed halfway
            reached = {self._at: offset}
            await recall(self._settings, self._consumer, reached, put)
            self._consumer.seek(self._at, reached[self._at])
            self._consumer.resume(self._at)
        except (KafkaError, ValueError) as fault:
            raise Unavailable(f"{self._at} cannot be read: {fault!r}") from fault

    def open(self) -> None:
        """Let commands come again."""
        if self._at in self._consumer.paused():
            self._consumer.resume(self._at)
