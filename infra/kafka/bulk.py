"""Appending very many facts: librdkafka batches and compresses outside of Python's lock."""

import asyncio

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from infra.kafka.connect import librdkafka_options
from infra.kafka.topics import physical
from infra.settings import Settings
from schemas.errors import Unavailable
from schemas.position import Position

IN_FLIGHT = 40_000
"""Records that one upload may have under way; bounds its memory and the time a stop takes."""

PAUSE_S = 0.002


class BulkWriter:
    """An idempotent librdkafka producer, shared by all uploads of a process."""

    def __init__(self, settings: Settings, *, linger_ms: int = 5, timeout_s: float = 20) -> None:
        self._settings = settings
        self._producer = Producer(
            {
                **librdkafka_options(settings.kafka),
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "compression.type": "lz4",
                "linger.ms": linger_ms,
                "batch.size": 512 * 1024,
                "message.timeout.ms": int(timeout_s * 1000),
                "queue.buffering.max.messages": 400_000,
                "log_level": 0,
            }
        )

    def upload(self, topic: str) -> "Upload":
        """Begin to append to a topic, named without prefix."""
        return Upload(self._settings, self._producer, topic)

    async def close(self) -> None:
        """Wait for what is under way, 10 s at most."""
        await asyncio.to_thread(self._producer.flush, 10)


class Upload:
    """One stream of facts.

    Attributes:
        confirmed: records that are durable.
    """

    def __init__(self, settings: Settings, producer: Producer, topic: str) -> None:
        self._settings = settings
        self._producer = producer
        self._topic = topic
        self._physical = physical(settings, topic)
        self._sent = 0
        self._failed = 0
        self._fault: KafkaError | None = None
        self._last: dict[int, int] = {}
        self.confirmed = 0

    @property
    def positions(self) -> list[Position]:
        """Where the last record of each partition stands."""
        return [Position(self._topic, partition, offset) for partition, offset in sorted(self._last.items())]

    def send(self, key: str, value: bytes, headers: list[tuple[str, str | bytes | None]]) -> None:
        """Hand over one record; call `room` between bursts.

        Raises:
            Unavailable: the producer takes no more.
        """
        try:
            self._producer.produce(self._physical, value, key, headers=headers, on_delivery=self._delivered)
        except (BufferError, KafkaException) as fault:
            raise self._away(fault) from fault
        self._sent += 1

    async def room(self) -> None:
        """Wait until the upload may hand over more.

        Raises:
            Unavailable: a record was not confirmed in time.
        """
        await self._until(IN_FLIGHT)

    async def finish(self) -> None:
        """Wait until every record is durable.

        Raises:
            Unavailable: a record was not confirmed in time.
        """
        await self._until(0)

    async def _until(self, most: int) -> None:
        self._producer.poll(0)
        while self._sent - self.confirmed - self._failed > most:
            await asyncio.sleep(PAUSE_S)
            self._producer.poll(0)
        if self._fault is not None:
            raise self._away(self._fault)

    def _delivered(self, fault: KafkaError | None, message: Message) -> None:
        if fault is not None:
            self._failed += 1
            self._fault = fault
            return
        self.confirmed += 1
        self._last[message.partition() or 0] = message.offset() or 0

    def _away(self, fault: object) -> Unavailable:
        return Unavailable(
            f"Kafka at {self._settings.kafka.bootstrap} did not confirm all of the upload ({fault}): send it again; "
            "lines with an `id` count once",
            extra={"accepted": self.confirmed},
        )
