"""The records of a partition as Kafka has them now, damaged or not.

`infra.kafka.fetch` stops at the first batch that is not what it says; an audit says which one it is, and reads on.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from aiokafka import AIOKafkaClient, TopicPartition
from aiokafka.errors import KafkaError, NoError, for_code

from infra.audit.finding import Kind
from infra.audit.leaf import Leaves, leaves_of
from infra.audit.partition import Partition
from infra.kafka.block import HEADER, LOG_OVERHEAD, Block, split
from infra.kafka.fetch import Piece, ask, leader_of, standing
from infra.kafka.patience import RETRY_S
from infra.kafka.topics import physical
from infra.settings import Settings
from schemas.errors import Incompatible, Unavailable
from schemas.models import OffsetRange

WAIT_MS = 200
SILENCE_S = 10.0
OUTSIDE, DAMAGED = 1, 2
LOST = (OUTSIDE, DAMAGED)
"""Kafka's errors for an offset outside the log and for a damaged segment: asking again is of no use."""
BATCH = "the batch does not match its own check sum or cannot be unpacked"


class Flaw(NamedTuple):
    """A part that does not stand as it should.

    Attributes:
        first, last: offsets.
        blind: whether nothing can be said of the single records in it.
    """

    kind: Kind
    first: int
    last: int
    detail: str
    blind: bool = True


@dataclass(slots=True)
class Scanned:
    """A piece of a partition.

    Attributes:
        end: up to where it has been read.
        flaws: parts of it that are not what they should be, or cannot be read.
        fault: why nothing more can be read; empty while it can.
        outside: whether that is because the broker has no such offset.
        archived: whether the archive gave it.
    """

    end: int
    leaves: Leaves = field(default_factory=Leaves)
    flaws: list[Flaw] = field(default_factory=list)
    fault: str = ""
    outside: bool = False
    archived: bool = False


async def scan(
    client: AIOKafkaClient, settings: Settings, log: Partition, first: int, end: int
) -> AsyncGenerator[Scanned, None]:
    """The records from `first` on and before `end`, piece by piece; the next is on its way while one is worked on.

    Raises:
        Unavailable: the brokers do not answer.
    """
    offset = first
    asked = asyncio.create_task(_ask(client, settings, log, offset, end))
    try:
        while offset < end:
            piece = await asked
            batches = list(_batches(piece.data))
            if piece.code or not batches:
                why = repr(for_code(piece.code)()) if piece.code else "the broker gives nothing there"
                yield Scanned(offset, fault=why, outside=piece.code == OUTSIDE)
                return
            following = max(batches[-1].next_offset, offset + 1)
            if following < end:
                asked = asyncio.create_task(_ask(client, settings, log, following, end))
            part = OffsetRange(topic=log.topic, partition=log.number, first=offset, end=min(following, end))
            yield await asyncio.to_thread(_scanned, batches, part, piece)
            offset = following
    finally:
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)


def _scanned(batches: list["_Batch"], part: OffsetRange, piece: Piece) -> Scanned:
    result = Scanned(part.end)
    whole = [batch.block for batch in batches if batch.block is not None]
    result.flaws = [Flaw("damaged", b.base_offset, b.next_offset - 1, BATCH) for b in batches if b.block is None]
    for block in standing(whole, part, piece.aborted):
        try:
            result.leaves.extend(leaves_of([block], part.first, part.end))
        except Incompatible:
            result.flaws.append(Flaw("damaged", block.base_offset, block.last_offset, BATCH))
    return result


@dataclass(frozen=True, slots=True)
class _Batch:
    """A batch, whose block is None when it is not what it says."""

    base_offset: int
    next_offset: int
    block: Block | None


def _batches(data: bytes) -> Iterator[_Batch]:
    at = 0
    while at + HEADER.size <= len(data):
        base, length, *_ = HEADER.unpack_from(data, at)
        end = at + LOG_OVERHEAD + length
        if end > len(data) or length < HEADER.size - LOG_OVERHEAD:
            return
        yield _batch(base, data[at:end])
        at = end


def _batch(base: int, data: bytes) -> _Batch:
    try:
        (block,) = split(data)
        return _Batch(base, block.next_offset, block)
    except (Incompatible, ValueError):
        last_delta = HEADER.unpack_from(data)[6]
        return _Batch(base, base + max(last_delta, 0) + 1, None)


async def _ask(client: AIOKafkaClient, settings: Settings, log: Partition, offset: int, end: int) -> Piece:
    """What stands at `offset`; asks again while the brokers move or have nothing."""
    if offset >= end:
        return Piece(log.number, 0, (), b"")
    name = physical(settings, log.topic)
    deadline = asyncio.get_running_loop().time() + SILENCE_S
    while True:
        late = asyncio.get_running_loop().time() > deadline
        try:
            leader = leader_of(client, TopicPartition(name, log.number))
            (piece,) = await ask(client, leader, name, {log.number: offset}, wait_ms=WAIT_MS)
            if late or piece.data or piece.code in LOST:
                return piece
            if piece.code and (error := for_code(piece.code)) is not NoError:
                raise error()
        except (KafkaError, OSError) as fault:
            if late:
                raise Unavailable(f"{log} cannot be read at offset {offset}: {fault!r}; try again") from fault
            await asyncio.sleep(RETRY_S)
            await client.force_metadata_update()
