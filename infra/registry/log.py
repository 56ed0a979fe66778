"""The registry's log: the compacted topic `_schemas`, read to its end and written by one replica at a time.

Two replicas that decide on the same state would give one id to two schemas, and compaction would then drop one of the
two records. So every write is a transaction under one transactional id: a replica that takes the id over fences whoever
had it, reads what that one has committed, and only then decides. A fenced replica finds out when it appends, and starts
again. An answer is given when the own record has come back from the log.

Source: KIP-98, fencing by producer epoch.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, NoError, TopicAlreadyExistsError, for_code
from aiokafka.structs import RecordMetadata

from infra.ending import ended
from infra.health import Health
from infra.kafka.connect import aiokafka_options
from infra.kafka.consumer import stopped
from infra.settings import Settings
from schemas.errors import Incompatible, Problem, TooLarge, Unavailable
from schemas.registry import Record, Registry

TOPIC = "_schemas"
WRITE_ATTEMPTS = 8
TIMEOUT_S = 10.0
RECONNECT_S = 1.0
POLL_MS = 1000
MARKER_S = 0.005
FETCH_WAIT_MS = 100  # a broker does not answer a waiting fetch when a transaction commits, only when this is over
CAUGHT_UP = "caught up"

log = structlog.get_logger()


class SchemaLog:
    """One replica's view of the log. Start it once; it connects, and connects again, in the background.

    Args:
        settings: where the brokers are and what the topic is called.
        health: gets the component `log`.
    """

    def __init__(self, settings: Settings, health: Health) -> None:
        self.health = health
        self._settings = settings
        self._partition = TopicPartition(settings.topic_prefix + TOPIC, 0)
        self._registry: Registry | None = None
        self._position = 0
        self._behind_marker = 0
        self._moved = asyncio.Condition()
        self._writing = asyncio.Lock()
        self._consumer: AIOKafkaConsumer | None = None
        self._producer: AIOKafkaProducer | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def registry(self) -> Registry:
        """What has been read so far; still there while the brokers are away.

        Raises:
            Unavailable: the log has not been read to its end once.
        """
        if self._registry is None:
            raise Unavailable(f"The registry has not read its log yet: {self._cause()}. Try again.")
        return self._registry

    async def start(self) -> None:
        """Begin to read in the background."""
        self.health.failed("log", "reading the log for the first time")
        self._task = asyncio.create_task(self._follow_for_ever())

    async def stop(self) -> None:
        """Stop reading and writing."""
        try:
            if self._task is not None:
                await ended(self._task)
        finally:
            await self._drop_producer()

    async def catch_up(self) -> Registry:
        """What all replicas together have committed up to now.

        Raises:
            Unavailable: the brokers do not answer.
        """
        return await self._read_to(await self._end())

    async def write(self, decide: Callable[[Registry], Sequence[Record]]) -> Registry:
        """Append what `decide` returns for the state at the end of the log, all of it or nothing.

        Args:
            decide: pure; called again when another replica wrote in between.

        Returns:
            The state that has taken in these records.

        Raises:
            Unavailable: the brokers do not answer, or the other replicas were quicker each time.
            TooLarge: a record is over the size that the brokers take.
            Problem: whatever `decide` raises; nothing is written then.
        """
        with contextlib.suppress(Problem):
            if not decide(self.registry):
                return self.registry  # what is known stays so: no need to fence whoever writes now
        fault: BaseException | None = None
        async with self._writing:
            for attempt in range(WRITE_ATTEMPTS):
                try:
                    return await self._write_once(decide)
                except (KafkaError, OSError, TimeoutError) as error:
                    fault = error
                    log.info("schema write starts again", attempt=attempt + 1, error=repr(error))
                    await asyncio.sleep(random.uniform(0.02, 0.1) * 2**attempt)
        raise Unavailable(f"The schema could not be written: {fault!r}. Try again.") from fault

    async def _write_once(self, decide: Callable[[Registry], Sequence[Record]]) -> Registry:
        producer = await self._fence()
        self._reading()
        records = await self._decide(decide)
        if not records:
            return self.registry
        offsets = await self._append(producer, records)
        await self._until_others_see(offsets[-1])
        return await self._take_in(records, offsets)

    async def _decide(self, decide: Callable[[Registry], Sequence[Record]]) -> Sequence[Record]:
        """What is appended is guarded by the fence; a refusal counts only at the end of the log."""
        with contextlib.suppress(Problem):
            return decide(self.registry)
        return decide(await self.catch_up())

    async def _until_others_see(self, offset: int) -> None:
        """Kafka confirms a commit before it has written its marker, and until then the other replicas end before it."""
        until = time.monotonic() + TIMEOUT_S
        while await self._end() <= offset:
            if time.monotonic() > until:
                raise Unavailable(f"Offset {offset} is written, but not committed after {TIMEOUT_S:g} s. Try again.")
            await asyncio.sleep(MARKER_S)

    async def _end(self) -> int:
        """Where the log ends for all who read what is committed."""
        consumer = self._reading()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return int((await consumer.end_offsets([self._partition]))[self._partition])
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"Kafka does not tell where the log ends: {error!r}. Try again.") from error

    def _reading(self) -> AIOKafkaConsumer:
        """Whoever cannot read the log may not write to it either."""
        if self._consumer is None:
            raise Unavailable(f"The registry does not follow its log: {self._cause()}. Try again.")
        return self._consumer

    def _cause(self) -> str:
        component = self.health.components.get("log")
        return component.cause if component else "not started"

    async def _take_in(self, records: Sequence[Record], offsets: Sequence[int]) -> Registry:
        """What was committed right behind the known position is known without waiting for it to come back.

        A commit marker takes one offset. Between two transactions of ours that are one offset apart is nothing else.
        """
        registry = self.registry
        behind_own_marker, self._behind_marker = self._behind_marker, offsets[-1] + 2
        if offsets[0] not in (self._position, behind_own_marker):
            return await self._read_to(offsets[-1] + 1)
        for offset, record in zip(offsets, records, strict=True):
            _apply(registry, offset, record.key, record.value)
        await self._publish(registry, offsets[-1] + 1)
        return registry

    async def _fence(self) -> AIOKafkaProducer:
        """The producer that has, as far as we know, the only right to write, and with it all that others wrote."""
        if self._producer is None:
            producer = AIOKafkaProducer(
                **aiokafka_options(self._settings.kafka),
                transactional_id=self._partition.topic,
                transaction_timeout_ms=int(TIMEOUT_S * 1000),
            )
            self._producer = producer
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    await producer.start()
                await self.catch_up()
            except BaseException:
                await self._drop_producer()
                raise
        return self._producer

    async def _append(self, producer: AIOKafkaProducer, records: Sequence[Record]) -> list[int]:
        """Where the records stand. After any fault the producer is gone: its transaction may still be open."""
        sent: list[asyncio.Future[RecordMetadata]] = []
        try:
            async with asyncio.timeout(TIMEOUT_S):
                async with producer.transaction():
                    for record in records:
                        sent.append(await producer.send(self._partition.topic, record.value, record.key, partition=0))
                return [metadata.offset for metadata in await asyncio.gather(*sent)]
        except BaseException as error:
            await self._drop_producer()
            await asyncio.gather(*sent, return_exceptions=True)  # their faults are this one
            if isinstance(error, MessageSizeTooLargeError):
                raise TooLarge(f"The schema does not fit into one record: {error}") from error
            raise

    async def _drop_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(TIMEOUT_S):
                    await producer.stop()
            _retrieve_faults(producer)

    async def _read_to(self, offset: int) -> Registry:
        try:
            async with asyncio.timeout(TIMEOUT_S), self._moved:
                await self._moved.wait_for(lambda: self._position >= offset)
        except TimeoutError as error:
            raise Unavailable(f"The log was not read to offset {offset} in {TIMEOUT_S:g} s. Try again.") from error
        return self.registry

    async def _follow_for_ever(self) -> None:
        while True:
            try:
                await self._follow()
            except Incompatible as error:
                self._failed(error.detail)
            except (KafkaError, OSError, TimeoutError) as error:
                self._failed(f"Kafka at {self._settings.kafka.bootstrap} does not answer: {error!r}")
            await asyncio.sleep(RECONNECT_S)

    def _failed(self, cause: str) -> None:
        log.error("schema log lost", cause=cause)
        self.health.failed("log", cause)

    async def _follow(self) -> None:
        """Read the log from its beginning, for ever; what is known is replaced once the end is reached."""
        await self._create_topic()
        consumer = AIOKafkaConsumer(
            **aiokafka_options(self._settings.kafka),
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )
        try:
            await consumer.start()
            consumer.assign([self._partition])
            await self._fold(consumer)
        finally:
            self._consumer = None
            await stopped(consumer)

    async def _fold(self, consumer: AIOKafkaConsumer) -> None:
        registry = Registry()
        end = (await consumer.end_offsets([self._partition]))[self._partition]
        while True:
            batches = await consumer.getmany(timeout_ms=POLL_MS)
            for record in batches.get(self._partition, ()):
                if self._consumer is consumer and record.offset < self._position:
                    continue  # our own, taken in when it was committed
                _apply(registry, record.offset, record.key, record.value)
            position = await consumer.position(self._partition)
            if self._consumer is None and position >= end:
                self._consumer = consumer
                self.health.ok("log", CAUGHT_UP)
            if self._consumer is consumer:
                await self._publish(registry, position)

    async def _publish(self, registry: Registry, position: int) -> None:
        """The position never falls behind what was taken in, unless the log was read anew."""
        async with self._moved:
            self._position = max(self._position, position) if registry is self._registry else position
            self._registry = registry
            self._moved.notify_all()

    async def _create_topic(self) -> None:
        """One partition, compacted, as Confluent's registry makes it."""
        kafka = self._settings.kafka
        topic = NewTopic(
            self._partition.topic,
            num_partitions=1,
            replication_factor=kafka.replication,
            topic_configs={"cleanup.policy": "compact", "min.insync.replicas": str(kafka.min_insync_replicas)},
        )
        admin = AIOKafkaAdminClient(**aiokafka_options(kafka))
        try:
            await admin.start()
            answer = await admin.create_topics([topic])
        finally:
            await admin.close()
        for _, code, *_ in answer.topic_errors:
            if for_code(code) not in (NoError, TopicAlreadyExistsError):
                raise for_code(code)(f"making topic {self._partition.topic}")


def _retrieve_faults(producer: AIOKafkaProducer) -> None:
    """A producer that fails leaves its fault also in futures that aiokafka 0.14 awaits nowhere.

    The interpreter would report each as an error when it collects them, long after the fault was dealt with.
    """
    accumulator = producer._message_accumulator
    batches = [batch for queue in accumulator._batches.values() for batch in queue]
    waiters = [batch._drain_waiter for batch in (*batches, *accumulator._pending_batches)]
    for waiter in (*waiters, producer._txn_manager.wait_for_transaction_end()):
        if waiter is not None and waiter.done() and not waiter.cancelled():
            waiter.exception()


def _apply(registry: Registry, offset: int, key: bytes | None, value: bytes | None) -> None:
    known = len(registry.conflicts)
    try:
        registry.apply(key or b"null", value)
    except Incompatible as error:
        raise Incompatible(f"offset {offset}: {error.detail}") from error
    for conflict in registry.conflicts[known:]:
        log.warning("schema record void", offset=offset, why=conflict)
