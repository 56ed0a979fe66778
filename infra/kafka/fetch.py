"""Record batches as the brokers keep them, asked for directly: the way of a replay, which needs no consumer group."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import polars as pl
from aiokafka import AIOKafkaClient, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError, for_code
from aiokafka.protocol.fetch import FetchRequest

from infra.kafka import frame
from infra.kafka.block import Block, split
from infra.kafka.connect import aiokafka_options
from infra.kafka.patience import FINAL, answered
from infra.kafka.topics import physical
from infra.settings import Settings
from schemas.errors import Incompatible, Invalid, Unavailable
from schemas.models import OffsetRange

FETCH_BYTES = 4 << 20
WAIT_MS = 100
READ_COMMITTED = 1


@dataclass(frozen=True, slots=True)
class Fetched:
    """Blocks of one range, in order; the first and last may reach beyond it.

    Attributes:
        passed: offsets of the range that lie behind after these blocks, since the answer before.
    """

    part: OffsetRange
    blocks: Sequence[Block]
    passed: int

    def rows(self, headers: Sequence[str]) -> pl.DataFrame:
        """The records of the range as `infra.kafka.frame.of_range` gives them.

        Raises:
            Incompatible: a block is damaged, or holds a header that is no text.
        """
        if isinstance(self.blocks, Archived):
            return frame.within(self.blocks.frame(headers), self.part.first, self.part.end)
        return frame.of_range(self.blocks, self.part.first, self.part.end, headers)


class Archived(Sequence[Block], ABC):
    """Blocks that are made only when somebody asks for them: of records that an archive has kept as columns."""

    @abstractmethod
    def frame(self, headers: Sequence[str]) -> pl.DataFrame:
        """The records as `infra.kafka.frame.of_blocks` gives them."""


@asynccontextmanager
async def open_client(settings: Settings, topics: Sequence[str]) -> AsyncIterator[AIOKafkaClient]:
    """A connection that knows where the partitions of these topics are.

    Raises:
        Unavailable: the brokers do not answer.
    """
    client = AIOKafkaClient(**aiokafka_options(settings.kafka))
    try:
        await client.bootstrap()
        await client.set_topics([physical(settings, topic) for topic in topics])
        yield client
    except (KafkaError, OSError) as fault:
        raise Unavailable(f"Kafka at {settings.kafka.bootstrap} does not answer: {fault!r}") from fault
    finally:
        await client.close()


async def fetch(
    client: AIOKafkaClient, settings: Settings, parts: Sequence[OffsetRange]
) -> AsyncGenerator[Fetched, None]:
    """The blocks of these ranges one after another; the next answer is on its way while one is worked on.

    What Kafka no longer has comes from the archive.

    Raises:
        Invalid: a range is no longer in the log.
        Incompatible: a batch is damaged, or a file of the archive.
        Unavailable: the brokers or the archive do not answer.
    """
    todo = [part for part in parts if part.end > part.first]
    ahead: asyncio.Task[_Answer] | None = None
    try:
        for place, part in enumerate(todo):
            offset = part.first
            while offset < part.end:
                try:
                    answer = await (ahead or _ask(client, settings, part, offset))
                except _Gone as gone:
                    ahead = None
                    async for kept in _archived(settings, part, offset, gone):
                        yield kept
                        offset += kept.passed
                    part = todo[place] = rest_of(part, offset)
                    continue
                following = max(answer.next_offset, offset)
                ahead = _ahead(client, settings, todo, place, following)
                yield Fetched(part, answer.blocks, min(following, part.end) - offset)
                offset = following
    finally:
        if ahead is not None:
            ahead.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await ahead


class _Gone(Invalid):
    """Kafka no longer has an offset, or never had it."""

    code = "range_outside_log"


async def _archived(settings: Settings, part: OffsetRange, offset: int, gone: _Gone) -> AsyncGenerator[Fetched, None]:
    """What the archive has of a range from `offset` on."""
    from infra.archive.reading import kept  # so that only a reader who needs the archive carries its libraries

    at = offset
    async for blocks, end in kept(settings, rest_of(part, offset)):
        yield Fetched(rest_of(part, at), blocks, end - at)
        at = end
    if at == offset:
        raise gone


def rest_of(part: OffsetRange, first: int) -> OffsetRange:
    """A range from a later offset on."""
    return OffsetRange(topic=part.topic, partition=part.partition, first=first, end=part.end)


@dataclass(frozen=True, slots=True)
class _Answer:
    blocks: Sequence[Block]
    next_offset: int


def _ahead(
    client: AIOKafkaClient, settings: Settings, todo: Sequence[OffsetRange], place: int, offset: int
) -> "asyncio.Task[_Answer] | None":
    part = todo[place]
    if offset >= part.end:
        if place + 1 == len(todo):
            return None
        part = todo[place + 1]
        offset = part.first
    return asyncio.create_task(_ask(client, settings, part, offset))


async def _ask(client: AIOKafkaClient, settings: Settings, part: OffsetRange, offset: int) -> _Answer:
    """The next blocks at `offset`."""
    place = TopicPartition(physical(settings, part.topic), part.partition)

    async def once() -> _Answer | None:
        piece = await ask_one(client, place, offset, FETCH_BYTES)
        blocks = list(split(piece.data))
        return _Answer(list(standing(blocks, part, piece.aborted)), blocks[-1].next_offset) if blocks else None

    try:
        return await answered(client, f"offset {offset} of {name_of(part)}", once)
    except OffsetOutOfRangeError as fault:
        raise _Gone(f"offset {offset} of {name_of(part)} is neither in Kafka nor in the archive") from fault
    except FINAL as fault:
        raise Incompatible(f"{name_of(part)} cannot be read at offset {offset}: {fault!r}") from fault


@dataclass(frozen=True, slots=True)
class Piece:
    """What a broker has of one partition.

    Attributes:
        code: Kafka's error; 0 when there is none.
        aborted: producer id and first offset of each aborted transaction in it.
        data: record batches, the last one maybe cut short.
    """

    partition: int
    code: int
    aborted: Sequence[tuple[int, int]]
    data: bytes


def leader_of(client: AIOKafkaClient, place: TopicPartition) -> int:
    """The broker that has a partition.

    Raises:
        KafkaError: none has it now.
    """
    leader: int | None = client.cluster.leader_for_partition(place)
    if leader is None or leader < 0:
        raise KafkaError(f"{place.topic}/{place.partition} has no leader")
    return leader


async def ask(
    client: AIOKafkaClient,
    leader: int,
    topic: str,
    offsets: Mapping[int, int],
    *,
    wait_ms: int,
    size_bytes: int = FETCH_BYTES,
) -> list[Piece]:
    """What a broker has of these partitions of a topic, each from its offset; waits for the first byte.

    Args:
        size_bytes: of each partition so many at most, but the first batch whole.

    Raises:
        KafkaError: it does not answer.
    """
    wanted = [(partition, offset, size_bytes) for partition, offset in offsets.items()]
    size = size_bytes * len(wanted)
    response: Any = await client.send(leader, FetchRequest(wait_ms, 1, size, READ_COMMITTED, [(topic, wanted)]))
    late = response.API_VERSION >= 11
    return [
        Piece(number, code, (rest[2] if late else rest[-2]) or (), rest[-1] or b"")
        for _, partitions in response.topics
        for number, code, _, *rest in partitions
    ]


async def ask_one(client: AIOKafkaClient, place: TopicPartition, offset: int, size_bytes: int) -> Piece:
    """What the leader of one partition has from an offset on; see `ask`.

    Raises:
        KafkaError: it does not answer, or says that it cannot.
    """
    leader, offsets = leader_of(client, place), {place.partition: offset}
    (piece,) = await ask(client, leader, place.topic, offsets, wait_ms=WAIT_MS, size_bytes=size_bytes)
    if piece.code:
        raise for_code(piece.code)()
    return piece


def standing(blocks: Sequence[Block], part: OffsetRange, aborted: Sequence[tuple[int, int]]) -> Iterator[Block]:
    """The blocks that hold records of the range: no ends of transactions, and nothing of those that were aborted.

    Args:
        aborted: producer id and first offset of each aborted transaction. It lasts until the producer's next marker.
    """
    starts = sorted(aborted, key=lambda one: one[1])
    failing: set[int] = set()
    for block in blocks:
        while starts and starts[0][1] <= block.last_offset:
            failing.add(starts.pop(0)[0])
        if block.is_control:
            failing.discard(block.producer_id)
        elif not (block.is_transactional and block.producer_id in failing) and _overlaps(block, part):
            yield block


def _overlaps(block: Block, part: OffsetRange) -> bool:
    return block.last_offset >= part.first and block.base_offset < part.end


def name_of(part: OffsetRange) -> str:
    """A range as people write it: `topic/partition/first..end`."""
    return f"{part.topic}/{part.partition}/{part.first}..{part.end}"
