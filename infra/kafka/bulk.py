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

ALL_IN_FLIGHT = 80_000
"""Records that all uploads of a process together may have under way."""

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


class Batch:
    """Records of an upload that become durable together, as far as anybody asks.

    Attributes:
        waiting: records that are not durable.
        fault: why one of them will not be.
        last: offset of the last record in each partition.
    """

    __slots__ = ("fault", "last", "waiting")

    def __init__(self) -> None:
        self.waiting = 0
        self.fault: KafkaError | None = None
        self.last: dict[int, int] = {}

    def delivered(self, fault: KafkaError | None, message: Message) -> None:
        """What the producer calls for each record."""
        if fault is not None:
            self.fault = fault
            return
        self.waiting -= 1
        self.last[message.partition() or 0] = message.offset() or 0


class Upload:
    """One stream of facts.

    Attributes:
        sent: records handed over.
    """

    def __init__(self, settings: Settings, producer: Producer, topic: str) -> None:
        self._settings = settings
        self._producer = producer
        self._topic = topic
        self._physical = physical(settings, topic)
        self._batch = Batch()
        self._earlier: list[Batch] = []
        self._last: dict[int, int] = {}
        self.sent = 0

    @property
    def confirmed(self) -> int:
        """Records that are durable."""
        return self.sent - self._waiting

    @property
    def positions(self) -> list[Position]:
        """Where the last record of each partition stands."""
        last = dict(self._last)
        for batch in (*self._earlier, self._batch):
            last |= {part: max(offset, last.get(part, -1)) for part, offset in batch.last.items()}
        return [Position(self._topic, partition, offset) for partition, offset in sorted(last.items())]

    def batch(self) -> Batch:
        """Close the batch: whatever is sent from now on is not of it."""
        closed, self._batch = self._batch, Batch()
        self._earlier.append(closed)
        return closed

    def send(self, key: str, value: bytes, headers: list[tuple[str, str | bytes | None]]) -> None:
        """Hand over one record; call `room` between bursts.

        Raises:
            Unavailable: the producer takes no more.
        """
        batch = self._batch
        try:
            self._producer.produce(self._physical, value, key, headers=headers, on_delivery=batch.delivered)
        except (BufferError, KafkaException) as fault:
            raise self._away(fault) from fault
        batch.waiting += 1
        self.sent += 1

    async def room(self) -> None:
        """Wait until the upload may hand over more.

        Raises:
            Unavailable: a record was not confirmed in time.
        """
        await asyncio.sleep(0)  # let other requests have a turn
        await self._until(IN_FLIGHT)
        while len(self._producer) > ALL_IN_FLIGHT:
            await asyncio.sleep(PAUSE_S)
            self._producer.poll(0)

    async def finish(self) -> None:
        """Wait until every record is durable.

        Raises:
            Unavailable: a record was not confirmed in time.
        """
        await self._until(0)

    @property
    def _waiting(self) -> int:
        return self._batch.waiting + sum(batch.waiting for batch in self._earlier)

    async def _until(self, most: int) -> None:
        self._producer.poll(0)
        while self._waiting > most:
            self._check()
            await asyncio.sleep(PAUSE_S)
            self._producer.poll(0)
        self._check()

    def _check(self) -> None:
        for batch in (*self._earlier, self._batch):
            if batch.fault is not None:
                raise self._away(batch.fault)
        while self._earlier and not self._earlier[0].waiting:
            for part, offset in self._earlier.pop(0).last.items():
                self._last[part] = max(offset, self._last.get(part, -1))

    def _away(self, fault: object) -> Unavailable:
        return Unavailable(
            f"Kafka at {self._settings.kafka.bootstrap} did not confirm all of the upload ({fault}): send it again; "
            "lines with an `id`, and all lines of an upload with an Upload-Id, count once",
            extra={"accepted": self.confirmed},
        )
