"""Reads one topic from given offsets and decodes it, batch by batch."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from infra.kafka.consumer import make_consumer
from infra.kafka.deadletters import Letters
from infra.kafka.records import Decoder, Raw, from_aiokafka
from infra.kafka.topics import physical
from infra.settings import Settings
from projections.batch import Batch
from schemas.envelope import Recorded
from schemas.errors import Incompatible, Unavailable

MAX_RECORDS = 8_000
"""Records in a batch at most: what one transaction holds, and what a fault makes us do again."""

DECODED_AT_ONCE = 250
"""Records decoded before others get their turn on the event loop: about 5 ms."""


class Reader:
    """Reads one topic; made by `open_reader`.

    Args:
        consumer: assigned to the topic's partitions, standing at `reached`.
        reached: next offset of every partition.
        tenant: whose events are read; the others are passed over.
        name: what dead letters call this reader.
    """

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        decoder: Decoder,
        letters: Letters,
        *,
        topic: str,
        prefix: str,
        tenant: str,
        reached: Mapping[int, int],
        name: str,
    ) -> None:
        self._consumer = consumer
        self._decoder = decoder
        self._letters = letters
        self._topic = topic
        self._prefix = prefix
        self._tenant = tenant
        self._reached = dict(reached)
        self._name = name

    async def read(self, *, wait_ms: int = 1000) -> Batch | None:
        """The next batch; None when nothing came in `wait_ms`. What cannot be read has become a dead letter.

        Raises:
            Unavailable: the registry or the dead letters' topic is away; open the reader again.
            Incompatible: the log does not reach to where the reader stands, or no longer.
        """
        try:
            fetched = await self._consumer.getmany(timeout_ms=wait_ms, max_records=MAX_RECORDS)
        except OffsetOutOfRangeError as fault:
            raise Incompatible(
                f"{self._topic} has no records at {self._reached}: it was cut or made anew; rebuild its read models",
                code="log_out_of_range",
            ) from fault
        except KafkaError as fault:
            raise Unavailable(f"{self._topic} cannot be read: {fault!r}") from fault
        raws = [from_aiokafka(record, self._prefix) for records in fetched.values() for record in records]
        return await self._batch(raws) if raws else None

    async def _batch(self, raws: list[Raw]) -> Batch:
        ends = {raw.partition: raw.offset + 1 for raw in raws}
        first = {partition: self._reached[partition] for partition in ends}
        read_at = {raw.partition: raw.timestamp_ms / 1000 for raw in reversed(raws)}
        counted, events = await self._decode([raw for raw in raws if raw.tenant == self._tenant])
        self._reached |= ends
        return Batch(self._topic, first, ends, events, counted, read_at)

    async def _decode(self, raws: list[Raw]) -> tuple[list[Raw], list[Recorded]]:
        unknown = await self._learn(raws)
        counted: list[Raw] = []
        events: list[Recorded] = []
        for number, raw in enumerate(raws, start=1):
            if number % DECODED_AT_ONCE == 0:
                await asyncio.sleep(0)
            read = unknown.get(number - 1) or self._read(raw)
            if isinstance(read, Recorded):
                counted.append(raw)
                events.append(read)
            elif read is not None:
                await self._letters.write(self._name, raw, read)
        return counted, events

    def _read(self, raw: Raw) -> Recorded | Exception | None:
        """The event, None for a void record, or why it cannot be read.

        Reading is a pure function of the bytes: whatever it raises, it will raise again.
        """
        try:
            return self._decoder.decode(raw)
        except Exception as fault:
            return fault

    async def _learn(self, raws: list[Raw]) -> dict[int, Exception]:
        """Learn the schemas; which records name one that nobody knows."""
        try:
            await self._decoder.learn(raws)
        except Unavailable:
            raise
        except Exception:
            return await self._learn_each(raws)
        return {}

    async def _learn_each(self, raws: Iterable[Raw]) -> dict[int, Exception]:
        unknown: dict[int, Exception] = {}
        for number, raw in enumerate(raws):
            try:
                if raw.counts:
                    await self._decoder.learn([raw])
            except Unavailable:
                raise
            except Exception as fault:
                unknown[number] = fault
        return unknown


@asynccontextmanager
async def open_reader(
    settings: Settings,
    decoder: Decoder,
    letters: Letters,
    topic: str,
    reached: Mapping[int, int],
    *,
    name: str = "projector",
) -> AsyncIterator[Reader]:
    """A reader of `topic` that stands at the offsets `reached`.

    Raises:
        Unavailable: the brokers do not answer.
    """
    partitions = {TopicPartition(physical(settings, topic), p): offset for p, offset in reached.items()}
    async with open_consumer(settings) as consumer:
        consumer.assign(list(partitions))
        for partition, offset in partitions.items():
            consumer.seek(partition, offset)
        names = {"topic": topic, "prefix": settings.topic_prefix, "tenant": settings.tenant, "name": name}
        yield Reader(consumer, decoder, letters, reached=reached, **names)


@asynccontextmanager
async def open_consumer(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer that belongs to no group and never jumps to another offset by itself.

    Raises:
        Unavailable: the brokers do not answer.
    """
    options: dict[str, Any] = {"auto_offset_reset": "none", "fetch_max_bytes": 16 * 1024 * 1024}
    consumer = make_consumer(settings, **options)
    try:
        await consumer.start()
        yield consumer
    except (KafkaError, OSError) as fault:
        raise Unavailable(f"Kafka at {settings.kafka.bootstrap} does not answer: {fault!r}") from fault
    finally:
        await consumer.stop()
