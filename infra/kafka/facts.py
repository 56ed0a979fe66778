"""Appending facts: events that no rule guards, written by an idempotent producer."""

import asyncio
from collections.abc import Sequence
from typing import Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from infra.kafka.connect import aiokafka_options
from infra.kafka.topics import physical
from infra.settings import Settings
from schemas.codec import Codec, Record
from schemas.contracts import contracts
from schemas.envelope import Meta
from schemas.errors import Problem, TooLarge, Unavailable
from schemas.position import Position


class FactWriter:
    """Appends facts to their topics; each append is durable when it returns.

    Args:
        linger_ms: how long the producer waits for company before it sends a batch.
        timeout_s: after which an append that the brokers did not confirm fails; it may have happened.
    """

    def __init__(self, settings: Settings, codec: Codec, *, linger_ms: int = 0, timeout_s: float = 10) -> None:
        self._settings = settings
        self._codec = codec
        self._options = {
            "acks": "all",
            "enable_idempotence": True,
            "linger_ms": linger_ms,
            "max_batch_size": 256 * 1024,
            "request_timeout_ms": int(timeout_s * 1000),
            "compression_type": "lz4",
        }
        self._producer: AIOKafkaProducer | None = None

    async def __aenter__(self) -> Self:
        self._producer = AIOKafkaProducer(**aiokafka_options(self._settings.kafka), **self._options)
        try:
            await self._producer.start()
        except (KafkaError, OSError) as fault:
            await self._producer.stop()
            raise _away(self._settings, fault) from fault
        except asyncio.CancelledError:
            await self._producer.stop()
            raise
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._producer is not None:
            await self._producer.stop()

    async def append(self, record: Record, meta: Meta) -> Position:
        """Append one fact; returns where it stands.

        Raises:
            Incompatible: the record does not fit its schema.
            TooLarge: the record is larger than the brokers take.
            Unavailable: the brokers did not confirm in time; the record may still be there, once.
        """
        return await (await self.submit(record, meta))

    async def append_all(self, facts: Sequence[tuple[Record, Meta]]) -> list[Position]:
        """Append many facts; returns where each stands, in their order.

        Raises:
            Incompatible: a record does not fit its schema; those before it may have been appended.
            TooLarge: a record is larger than the brokers take; the others may have been appended.
            Unavailable: the brokers did not confirm in time; some may be there, each at most once.
        """
        submitted = [await self.submit(record, meta) for record, meta in facts]
        return list(await asyncio.gather(*submitted))

    async def submit(self, record: Record, meta: Meta) -> "asyncio.Task[Position] | asyncio.Future[Position]":
        """Hand a fact to the producer; the future resolves when the fact is durable."""
        topic = contracts()[record.AVRO].topic
        if self._producer is None or topic is None:
            raise Unavailable("the writer has not been started")
        value = self._codec.encode(record)
        try:
            sent = await self._producer.send(
                physical(self._settings, topic), value, key=meta.subject.encode(), headers=meta.headers()
            )
        except (KafkaError, OSError) as fault:
            raise _problem(self._settings, fault) from fault
        return asyncio.ensure_future(self._placed(topic, sent))

    async def _placed(self, topic: str, sent: "asyncio.Future[object]") -> Position:
        try:
            placed: object = await sent
        except (KafkaError, OSError) as fault:
            raise _problem(self._settings, fault) from fault
        return Position(topic, placed.partition, placed.offset)  # type: ignore[attr-defined]


def _problem(settings: Settings, fault: BaseException) -> Problem:
    if isinstance(fault, MessageSizeTooLargeError | RecordListTooLargeError):
        return TooLarge(f"the record is larger than Kafka takes: {fault}")
    return _away(settings, fault)


def _away(settings: Settings, fault: BaseException) -> Unavailable:
    return Unavailable(f"Kafka at {settings.kafka.bootstrap} did not confirm the append: {fault!r}; try again")
