"""Single records picked out of a long partition: each costs the record batch it stands in, and no more.

A broker finds the batch of an offset by its own index and, asked for one byte, answers with that whole batch. Several
such questions are under way at once, so that what is waited for is mostly the first.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import aclosing

from aiokafka import AIOKafkaClient, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from infra.kafka.block import Block, split
from infra.kafka.fetch import Piece, ask_one, fetch, standing
from infra.kafka.patience import FINAL, answered
from infra.kafka.records import Raw, from_block
from infra.kafka.topics import physical
from infra.kafka.varint import lengths, number
from infra.settings import Settings
from schemas.errors import Incompatible, Invalid
from schemas.models import OffsetRange
from schemas.topics import TOPICS, Topic

AT_ONCE = 8
"""Questions under way."""

NEAR = 256
"""Offsets between two wanted records up to which the answer may as well hold both."""

NEAR_BYTES = 64 << 10
"""What is asked for where the next wanted record is near."""


async def pick(
    client: AIOKafkaClient, settings: Settings, topic: str, partition: int, offsets: Sequence[int]
) -> list[Raw]:
    """The records at these offsets, in their order; nothing for an offset that has none.

    Args:
        client: knows the partitions of `topic` (`fetch.open_client`).
        offsets: all of them below the end of the log.

    Raises:
        Invalid: one is no longer in the log.
        Incompatible: a batch is damaged.
        Unavailable: the brokers do not answer.
    """
    wanted = sorted(set(offsets))
    share = max(1, -(-len(wanted) // AT_ONCE))
    parts = [wanted[at : at + share] for at in range(0, len(wanted), share)]
    place = TopicPartition(physical(settings, topic), partition)
    found = await asyncio.gather(*(_some(client, settings, TOPICS[topic], place, part) for part in parts))
    return [raw for part in found for raw in part]


async def _some(
    client: AIOKafkaClient, settings: Settings, topic: Topic, place: TopicPartition, wanted: Sequence[int]
) -> list[Raw]:
    found: list[Raw] = []
    at = 0
    while at < len(wanted):
        near = at + 1 < len(wanted) and wanted[at + 1] - wanted[at] <= NEAR
        try:
            piece = await _asked(client, place, wanted[at], NEAR_BYTES if near else 1)
        except Invalid:  # Kafka has deleted it: the archive may have it
            return found + await _archived(client, settings, topic, place.partition, wanted[at:])
        raws, reached = _found(piece, topic, place.partition, wanted[at:])
        found += raws
        at = max(at + 1, bisect_left(wanted, reached))
    return found


async def _archived(
    client: AIOKafkaClient, settings: Settings, topic: Topic, partition: int, wanted: Sequence[int]
) -> list[Raw]:
    """The same by reading everything between the first and the last: nothing finds single records in an archive."""
    kept, found = frozenset(wanted), list[Raw]()
    part = OffsetRange(topic=topic.name, partition=partition, first=wanted[0], end=wanted[-1] + 1)
    async with aclosing(fetch(client, settings, [part])) as answers:
        async for fetched in answers:
            for block in fetched.blocks:
                found += [raw for raw in from_block(block, topic, partition) if raw.offset in kept]
    return found


async def _asked(client: AIOKafkaClient, place: TopicPartition, offset: int, size_bytes: int) -> Piece:
    """The batches from `offset` on, at least one."""
    name = f"offset {offset} of {place.topic}/{place.partition}"

    async def once() -> Piece | None:
        piece = await ask_one(client, place, offset, size_bytes)
        return piece if piece.data else None

    try:
        return await answered(client, name, once)
    except OffsetOutOfRangeError as fault:
        raise Invalid(f"{name} is not in the log", code="range_outside_log") from fault
    except FINAL as fault:
        raise Incompatible(f"{name} cannot be read: {fault!r}") from fault


def _found(piece: Piece, topic: Topic, partition: int, wanted: Sequence[int]) -> tuple[list[Raw], int]:
    """The wanted records among these batches, and the first offset behind the batches."""
    blocks = list(split(piece.data))
    if not blocks:
        raise Incompatible(f"{topic.name}/{partition} has a batch at offset {wanted[0]} that is cut short")
    reached = blocks[-1].next_offset
    part = OffsetRange(topic=topic.name, partition=partition, first=wanted[0], end=reached)
    found: list[Raw] = []
    for block in standing(blocks, part, piece.aborted):
        mine = wanted[bisect_left(wanted, block.base_offset) : bisect_left(wanted, block.next_offset)]
        if mine:
            found += _of_block(block, topic, partition, mine)
    return found, reached


def _of_block(block: Block, topic: Topic, partition: int, wanted: Sequence[int]) -> Iterator[Raw]:
    if block.count != block.next_offset - block.base_offset:  # something was compacted away: numbers are not places
        kept = frozenset(wanted)
        yield from (raw for raw in from_block(block, topic, partition) if raw.offset in kept)
        return
    payload = block.payload()
    starts = lengths(payload, wanted[-1] - block.base_offset + 1)[0].tolist()  # the others are not looked at
    for offset in wanted:
        yield _raw(payload, starts[offset - block.base_offset], block, topic, partition)


def _raw(payload: bytes, at: int, block: Block, topic: Topic, partition: int) -> Raw:
    """A record. Source: Kafka protocol guide, Record (format 2)."""
    stamp, at = number(payload, at + 1)
    delta, at = number(payload, at)
    key, at = _bytes(payload, at)
    value, at = _bytes(payload, at)
    count, at = number(payload, at)
    headers: list[tuple[str, bytes]] = []
    for _ in range(count):
        name, at = _bytes(payload, at)
        text, at = _bytes(payload, at)
        headers.append(((name or b"").decode(), text))  # type: ignore[arg-type]
    time = block.max_timestamp_ms if block.stamped_by_broker else block.first_timestamp_ms + stamp
    text_key = (key or b"").decode(errors="replace")
    return Raw(topic, partition, block.base_offset + delta, text_key, value, headers, time)


def _bytes(data: bytes, at: int) -> tuple[bytes | None, int]:
    size, at = number(data, at)
    return (None, at) if size < 0 else (data[at : at + size], at + size)
