"""Single records of the log, read again by their positions: with every byte and every header, as they were written."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import numpy as np
import numpy.typing as npt
from aiokafka import AIOKafkaClient
from aiokafka.errors import KafkaError

from infra.kafka.fetch import Fetched, fetch, open_client
from infra.kafka.records import Raw, from_block
from infra.settings import Settings
from schemas.errors import NotFound, Unavailable
from schemas.models import OffsetRange
from schemas.position import Position
from schemas.topics import TOPICS

NEAR = 2_000
"""Offsets between two wanted records up to which what lies between them is read along: about one answer of a broker."""


class Records:
    """Reads records of one topic by their offsets; made by `open_records`."""

    def __init__(self, client: AIOKafkaClient, settings: Settings, topic: str) -> None:
        self._client = client
        self._settings = settings
        self._topic = TOPICS[topic]

    async def read(self, partition: int, offsets: Sequence[int]) -> list[Raw]:
        """The records at these offsets, in their order.

        Raises:
            NotFound: the log has no record there.
            Unavailable: the brokers do not answer.
        """
        wanted = frozenset(offsets)
        parts = [
            OffsetRange(topic=self._topic.name, partition=partition, first=first, end=end)
            for first, end in spans(np.array(sorted(wanted), np.int64), NEAR)
        ]
        found: list[Raw] = []
        try:
            async for fetched in fetch(self._client, self._settings, parts):
                found += self._wanted(fetched, wanted)
        except (KafkaError, OSError) as fault:
            raise Unavailable(f"{self._topic.name} cannot be read: {fault!r}") from fault
        if missing := wanted - {raw.offset for raw in found}:
            raise NotFound(
                f"the log has no record at {Position(self._topic.name, partition, min(missing))}", code="no_record"
            )
        return found

    def _wanted(self, fetched: Fetched, offsets: frozenset[int]) -> Iterator[Raw]:
        for block in fetched.blocks:
            if any(offset in offsets for offset in range(block.base_offset, block.next_offset)):
                raws = from_block(block, self._topic, fetched.part.partition)
                yield from (raw for raw in raws if raw.offset in offsets and _in(fetched.part, raw))


def spans(offsets: npt.NDArray[np.int64], near: int) -> Iterator[tuple[int, int]]:
    """Stretches, each as first and end, that hold these offsets (in order); those less than `near` apart share one."""
    if not len(offsets):
        return
    breaks = np.flatnonzero(np.diff(offsets) >= near)
    firsts = offsets[np.concatenate(([0], breaks + 1))]
    lasts = offsets[np.concatenate((breaks, [len(offsets) - 1]))]
    for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
        yield first, last + 1


def _in(part: OffsetRange, raw: Raw) -> bool:
    return part.first <= raw.offset < part.end


@asynccontextmanager
async def open_records(settings: Settings, topic: str) -> AsyncIterator[Records]:
    """Reads records of `topic`.

    Raises:
        Unavailable: the brokers do not answer.
    """
    async with open_client(settings, [topic]) as client:
        yield Records(client, settings, topic)
