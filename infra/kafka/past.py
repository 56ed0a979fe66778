"""What Kafka has deleted of a topic that is read from its first record on: the archive gives it, before Kafka goes on.

A consumer alone would begin where Kafka begins now, and never say that it has missed something.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeAlias

from aiokafka import AIOKafkaConsumer, TopicPartition

from infra.kafka.fetch import Fetched, fetch, open_client
from infra.kafka.records import Raw, from_block
from infra.kafka.topics import logical
from infra.settings import Settings
from schemas.errors import Incompatible, Invalid
from schemas.models import OffsetRange
from schemas.topics import TOPICS

Take: TypeAlias = Callable[[TopicPartition, Sequence[Raw]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Past:
    """Some records of one partition, in their order.

    Attributes:
        next_offset: of the first record that is not among them.
    """

    at: TopicPartition
    raws: Sequence[Raw]
    next_offset: int


async def past(
    settings: Settings, consumer: AIOKafkaConsumer, reached: Mapping[TopicPartition, int]
) -> AsyncGenerator[Past, None]:
    """The records from `reached` on that Kafka no longer has; nothing, as a rule.

    Args:
        consumer: asks where Kafka begins.
        reached: next offset of each partition.

    Raises:
        KafkaError: Kafka does not tell where it begins.
        Incompatible: the archive does not have them either, or a file of it is damaged.
        Unavailable: the archive does not answer.
    """
    begins = await consumer.beginning_offsets(list(reached)) if reached else {}
    for at, begin in begins.items():
        if reached[at] < begin:
            topic = logical(settings, at.topic)
            part = OffsetRange(topic=topic, partition=at.partition, first=reached[at], end=begin)
            async with open_client(settings, [topic]) as client, aclosing(fetch(client, settings, [part])) as answers:
                async for piece in _told(at, part, answers):
                    yield piece


async def recall(
    settings: Settings, consumer: AIOKafkaConsumer, reached: dict[TopicPartition, int], take: Take
) -> None:
    """Take what Kafka no longer has from `reached` on, and move that on to where a consumer has to begin.

    Args:
        take: called with some records of one partition at a time, in their order.

    Raises:
        as `past`.
    """
    async with aclosing(past(settings, consumer, reached)) as pieces:
        async for piece in pieces:
            if piece.raws:
                await take(piece.at, piece.raws)
            reached[piece.at] = piece.next_offset


async def _told(
    at: TopicPartition, part: OffsetRange, answers: AsyncGenerator[Fetched, None]
) -> AsyncGenerator[Past, None]:
    offset, topic = part.first, TOPICS[part.topic]
    try:
        async for fetched in answers:
            end = offset + fetched.passed
            raws = [raw for block in fetched.blocks for raw in from_block(block, topic, at.partition)]
            yield Past(at, [raw for raw in raws if offset <= raw.offset < end], end)
            offset = end
    except Invalid as fault:
        raise lost(fault) from fault


def lost(fault: Invalid) -> Incompatible:
    """What a reader says that cannot go on, because neither Kafka nor the archive has what is next."""
    return Incompatible(
        f"{fault.detail}: without it nothing can be folded from the beginning; put back the archive that has it "
        "(RETRACE_ARCHIVE), and begin again",
        code="log_out_of_range",
    )
