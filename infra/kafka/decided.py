"""A partition of a decided topic on Kafka: one record batch per append, read up to its end.

The producer is deliberately not idempotent. An idempotent one retries for ever and keeps sequence numbers that break
after a batch was given up; what it would prevent, a batch that lands twice, does no harm here: the second copy stands
elsewhere than it says and is void for every reader. What matters is that one append is one record batch
(`create_batch`, `send_batch`), which a broker writes whole or not at all.
"""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, OffsetOutOfRangeError, RecordListTooLargeError

from infra.kafka.append import Entry, Landed, Page, Unknown
from infra.kafka.connect import aiokafka_options
from infra.kafka.consumer import make_consumer, stopped
from infra.kafka.past import past
from infra.kafka.records import from_aiokafka
from infra.kafka.topics import physical
from infra.settings import Settings
from schemas.errors import Incompatible, Unavailable
from schemas.topics import Topic

BATCH_BYTES = 1_000_000
PAGE_RECORDS = 10_000


def batch_producer(settings: Settings, *, timeout_s: float = 5) -> AIOKafkaProducer:
    """The producer that all decided partitions of a process share; not started.

    Args:
        timeout_s: how long an append may be tried before it counts as unknown.
    """
    return AIOKafkaProducer(
        **aiokafka_options(settings.kafka),
        acks="all",
        enable_idempotence=False,
        linger_ms=0,
        max_batch_size=BATCH_BYTES,
        request_timeout_ms=int(timeout_s * 1000),
    )


class KafkaLog:
    """One partition of a decided topic.

    Args:
        producer: from `batch_producer`, started.
        timeout_s: how long the partition may take to answer a read.
    """

    def __init__(
        self, settings: Settings, producer: AIOKafkaProducer, topic: Topic, partition: int, *, timeout_s: float = 10
    ) -> None:
        self._settings = settings
        self._producer = producer
        self._at = TopicPartition(physical(settings, topic.name), partition)
        self._timeout_s = timeout_s
        self._consumer: AIOKafkaConsumer | None = None

    async def append(self, entries: Sequence[Entry]) -> Landed | Unknown:
        """Append one batch.

        Raises:
            Incompatible: the broker takes no batch of this size.
        """
        batch = self._producer.create_batch()
        for entry in entries:
            if batch.append(timestamp=None, key=entry.key, value=entry.value, headers=list(entry.headers)) is None:
                raise Incompatible(f"{len(entries)} records do not fit {BATCH_BYTES} bytes", code="batch_too_large")
        batch.close()
        try:
            sent = await self._producer.send_batch(batch, self._at.topic, partition=self._at.partition)
            placed = await sent
        except (MessageSizeTooLargeError, RecordListTooLargeError) as fault:
            raise Incompatible(
                f"{self._at.topic} takes no batch of {batch.size()} bytes: raise its max.message.bytes to 1048588",
                code="batch_too_large",
            ) from fault
        except (KafkaError, OSError) as fault:
            return Unknown(repr(fault))
        return Landed(placed.offset)

    async def read(self, start: int) -> Page:
        """Records from `start`, at most up to where the partition ends now.

        What Kafka no longer has comes from the archive.

        Raises:
            Incompatible: neither has what is next.
            Unavailable: the brokers or the archive do not answer.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._page(start)
        except OffsetOutOfRangeError:
            return await self._deleted(start)
        except (KafkaError, OSError, TimeoutError) as fault:
            await self.close()
            raise Unavailable(
                f"Kafka at {self._settings.kafka.bootstrap} does not let {self._at} be read: {fault!r}"
            ) from fault

    async def _page(self, start: int) -> Page:
        consumer = await self._opened(start)
        end = (await consumer.end_offsets([self._at]))[self._at]
        if start >= end:
            await self.close()
            return Page((), start, True)
        records: list[Any] = []
        while not records and start < end:
            got = await consumer.getmany(self._at, timeout_ms=500, max_records=PAGE_RECORDS)
            records = got.get(self._at, [])
            start = await consumer.position(self._at)
        if start >= end:
            await self.close()
        prefix = self._settings.topic_prefix
        return Page([from_aiokafka(record, prefix) for record in records], start, start >= end)

    async def _deleted(self, start: int) -> Page:
        """The first of the records from `start` on that Kafka has deleted; the page after the last begins in Kafka."""
        consumer = await self._opened(start)
        try:
            async with aclosing(past(self._settings, consumer, {self._at: start})) as pieces:
                async for piece in pieces:
                    return Page(piece.raws, piece.next_offset, at_end=False)
        except KafkaError as fault:
            raise Unavailable(f"Kafka does not tell where {self._at} begins: {fault!r}") from fault
        finally:
            await self.close()
        raise Incompatible(f"{self._at} has no offset {start}: it was cut or made anew", code="log_out_of_range")

    async def _opened(self, start: int) -> AIOKafkaConsumer:
        """The consumer; open only while there is something to read, or it would fetch what we write ourselves."""
        if self._consumer is None:
            consumer = make_consumer(self._settings, fetch_max_wait_ms=100, auto_offset_reset="none")
            self._consumer = consumer
            await consumer.start()
            consumer.assign([self._at])
        self._consumer.seek(self._at, start)
        return self._consumer

    async def close(self) -> None:
        """Let go of the connection."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await stopped(consumer)
