"""Writing a history into the log, for the tests of those who read it."""

from collections import Counter
from dataclasses import replace
from typing import Any

from aiokafka import AIOKafkaProducer
from psycopg import AsyncConnection
from uuid6 import uuid7

from infra.kafka.facts import FactWriter
from infra.kafka.partitioner import partition_of
from infra.kafka.ranges import ranges_now
from infra.kafka.records import Decoder
from infra.kafka.topics import physical
from infra.settings import Settings
from projections.runner import declared
from projections.testing import minute
from projections.view import topics_of
from schemas.contracts import contracts
from schemas.envelope import Meta
from schemas.interactions import InteractionRecorded
from schemas.position import Position

from ..eventually import eventually
from .running import Running


def viewed(user: str, item: str = "a", at: float = 0) -> InteractionRecorded:
    return InteractionRecorded(user_id=user, item_id=item, kind="view", occurred_at=minute(at))


def meta_of(event: Any, subject: str) -> Meta:
    return Meta(id=uuid7(), type=event.AVRO, source="test", subject=subject, time=minute(0))


async def append(writer: FactWriter, *events: InteractionRecorded) -> list[Position]:
    return await writer.append_all([(event, meta_of(event, event.user_id)) for event in events])


class Decided:
    """Writes decided events where they are expected to stand; the only writer of its topics."""

    def __init__(self, settings: Settings, decoder: Decoder, producer: AIOKafkaProducer) -> None:
        self._settings = settings
        self._codec = decoder.codec
        self._producer = producer
        self._next: Counter[tuple[str, int]] = Counter()

    async def append(self, event: Any, *, topic: str | None = None, key: str | None = None, **around: Any) -> Position:
        """Where the event stands; `around` are fields of its `Meta`."""
        contract = contracts()[event.AVRO]
        topic, key = topic or str(contract.topic), key or str(getattr(event, contract.key or ""))
        partition = partition_of(key, self._settings.kafka.partitions)
        offset = self._next[topic, partition]
        self._next[topic, partition] += 1
        usual: dict[str, Any] = {"causation_id": f"{key}-{offset}", "command_offset": offset, "expected_offset": offset}
        meta = replace(meta_of(event, key), **(usual | around))
        name, value = physical(self._settings, topic), self._codec.encode(event)
        await self._producer.send_and_wait(name, value, key=key.encode(), partition=partition, headers=meta.headers())
        return Position(topic, partition, offset)


def key_in(partition: int, settings: Settings) -> str:
    """A key of this partition."""
    return next(f"u{n}" for n in range(1000) if partition_of(f"u{n}", settings.kafka.partitions) == partition)


async def ready(running: Running) -> bool:
    """Whether a projector has begun to fold every read model, or found nothing to fold."""
    return running.health.ready and len(running.health.components) > 1


async def folded(settings: Settings, database: AsyncConnection[Any], running: Running) -> None:
    """Wait until every declared read model has seen all that is in the log now."""
    await eventually(lambda: ready(running), within_s=60)
    read = [(one.name, topic) for one in declared() for topic in topics_of(one)]
    parts = await ranges_now(settings, sorted({topic for _, topic in read}))
    ends = {(view, one.topic, one.partition): one.end for view, topic in read for one in parts if one.topic == topic}

    async def there() -> bool:
        rows = await database.execute("SELECT view, topic, partition, next_offset FROM projection_offsets")
        reached = {(row["view"], row["topic"], row["partition"]): row["next_offset"] async for row in rows}
        return all(reached.get(place, -1) >= end for place, end in ends.items())

    await eventually(there, within_s=60)
