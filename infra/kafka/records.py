"""Records as they come from Kafka, and how they become events.

Every reader of the log goes through `Decoder`, so that the rule of the offset-checked append, the upcasting and the
look-up of unknown schemas exist once.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka.record.default_records import DefaultRecordBatch

from infra.kafka.block import Block
from schemas.codec import Codec, schema_id_of
from schemas.envelope import Headers, Meta, Recorded, counts, tenant_of
from schemas.errors import Incompatible
from schemas.position import Position
from schemas.topics import TOPICS, Topic


@dataclass(frozen=True, slots=True)
class Raw:
    """A record as it stands in the log.

    Attributes:
        topic: declaration of its topic.
        timestamp_ms: when the broker or producer stamped it, milliseconds since 1970.
    """

    topic: Topic
    partition: int
    offset: int
    key: str
    value: bytes | None
    headers: Headers
    timestamp_ms: int

    @property
    def position(self) -> Position:
        """Where it stands."""
        return Position(self.topic.name, self.partition, self.offset)

    @property
    def counts(self) -> bool:
        """Whether it is an event at all: the rule."""
        return counts(self.topic, self.offset, self.headers)

    @property
    def tenant(self) -> str:
        """Whose data it is."""
        return tenant_of(self.headers)

    def header(self, name: str) -> bytes:
        """The first value of a header; nothing when there is none."""
        return next((value for named, value in self.headers if named == name and value), b"")


def from_aiokafka(record: Any, prefix: str) -> Raw:
    """An aiokafka `ConsumerRecord` in our words."""
    return _from_record(record, TOPICS[record.topic.removeprefix(prefix)], record.partition)


def from_block(block: Block, topic: Topic, partition: int) -> Iterator[Raw]:
    """The records of a block, in their order."""
    for record in DefaultRecordBatch(bytearray(block.data)):
        yield _from_record(record, topic, partition)


def _from_record(record: Any, topic: Topic, partition: int) -> Raw:
    key = (record.key or b"").decode(errors="replace")
    return Raw(topic, partition, record.offset, key, record.value, record.headers, record.timestamp)


def from_librdkafka(message: Any, prefix: str) -> Raw:
    """A confluent-kafka `Message` in our words."""
    return Raw(
        TOPICS[message.topic().removeprefix(prefix)],
        message.partition(),
        message.offset(),
        (message.key() or b"").decode(errors="replace"),
        message.value(),
        message.headers() or (),
        message.timestamp()[1],
    )


class Decoder:
    """Turns raw records into events.

    Args:
        codec: knows today's schemas.
        fetch: asks the registry for the schema of an id; raises Unavailable or Incompatible.
    """

    def __init__(self, codec: Codec, fetch: Callable[[int], Awaitable[Mapping[str, Any]]]) -> None:
        self.codec = codec
        self._fetch = fetch

    async def learn(self, raws: Iterable[Raw]) -> None:
        """Ask the registry for every schema among `raws` that is not known yet.

        Raises:
            Unavailable: the registry does not answer.
            Incompatible: it does not know one of them.
        """
        await self.learn_ids({i for raw in raws if (i := _schema_id(raw)) is not None})

    async def learn_ids(self, schema_ids: Iterable[int]) -> None:
        """Ask the registry for every one of these schemas that is not known yet.

        Raises:
            Unavailable: the registry does not answer.
            Incompatible: it does not know one of them.
        """
        for schema_id in schema_ids:
            if not self.codec.knows(schema_id):
                self.codec.learn(schema_id, await self._fetch(schema_id))

    def decode(self, raw: Raw) -> Recorded | None:
        """The event; None when the record is void.

        Raises:
            Incompatible: the record counts and cannot be read.
        """
        if not raw.counts:
            return None
        if raw.value is None:
            raise Incompatible(f"the record at {raw.position} has no value", code="bad_framing")
        return Recorded(self.codec.decode(raw.value), Meta.of(raw.headers), raw.position)


def _schema_id(raw: Raw) -> int | None:
    try:
        return schema_id_of(raw.value)
    except Incompatible:
        return None
