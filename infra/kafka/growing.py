"""A topic followed from any offset on: what Kafka has deleted comes from the archive first, what follows from Kafka."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaClient

from infra.kafka.fetch import Fetched, fetch, open_client
from infra.kafka.past import lost
from infra.kafka.ranges import kafka_ranges
from infra.kafka.tail import Growth, Tail
from infra.settings import Settings
from schemas.errors import Invalid, NotFound, Unavailable
from schemas.models import OffsetRange


class Growing:
    """Reads on in partitions of one topic; made by `open_growing`.

    Args:
        client: knows the topic; used by nobody else.
        deleted: for each partition that begins before Kafka does, what Kafka lacks of it.
        standing: next offset of every other partition.
    """

    def __init__(
        self,
        client: AIOKafkaClient,
        settings: Settings,
        topic: str,
        deleted: Mapping[int, OffsetRange],
        standing: Mapping[int, int],
    ) -> None:
        self._tail = Tail(client, settings, topic, standing)
        self._deleted = dict(deleted)
        self._at = {number: part.first for number, part in deleted.items()}
        self._archived = fetch(client, settings, list(deleted.values()))
        self._follows = bool(standing)

    async def read(self, *, wait_ms: int) -> list[Growth]:
        """What has come since; empty when nothing did in about `wait_ms`.

        Raises:
            Unavailable: a broker or the archive does not answer, or a partition is moving to another broker.
            Incompatible: neither Kafka nor the archive has what is next, or a batch or file is damaged.
        """
        self._hand_over()
        if not self._deleted:
            return await self._tail.read(wait_ms=wait_ms)
        grown = [await self._next()]
        return grown + (await self._tail.read(wait_ms=0) if self._follows else [])

    async def close(self) -> None:
        """Stop asking."""
        await self._archived.aclose()
        await self._tail.close()

    def _hand_over(self) -> None:
        """Follow in Kafka what has been read up to where that begins."""
        for number in [number for number, part in self._deleted.items() if self._at[number] >= part.end]:
            self._tail.follow(number, self._deleted.pop(number).end)
            self._follows = True

    async def _next(self) -> Growth:
        try:
            fetched = await anext(self._archived)
        except Invalid as fault:
            raise lost(fault) from fault
        return self._growth(fetched)

    def _growth(self, fetched: Fetched) -> Growth:
        number = fetched.part.partition
        first = self._at[number]
        self._at[number] = first + fetched.passed
        return Growth(number, first, self._at[number], fetched.blocks)


@asynccontextmanager
async def open_growing(settings: Settings, topic: str, reached: Mapping[int, int]) -> AsyncIterator[Growing]:
    """Follow `topic` from the offsets `reached` on.

    Raises:
        Unavailable: the brokers do not answer.
    """
    try:
        starts = {part.partition: part.first for part in await kafka_ranges(settings, [topic])}
    except NotFound as fault:  # it is being made
        raise Unavailable(fault.detail) from fault
    deleted = {
        number: OffsetRange(topic=topic, partition=number, first=offset, end=starts[number])
        for number, offset in sorted(reached.items())
        if offset < starts.get(number, 0)
    }
    standing = {number: offset for number, offset in reached.items() if number not in deleted}
    async with open_client(settings, [topic]) as client:
        growing = Growing(client, settings, topic, deleted, standing)
        try:
            yield growing
        finally:
            await growing.close()
