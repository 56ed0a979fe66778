"""Reads one topic from given offsets and decodes it, batch by batch."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager

import polars as pl

from infra.kafka import columns
from infra.kafka.fetch import Fetched
from infra.kafka.growing import Growing, open_growing
from infra.kafka.records import Decoder, Raw, from_block
from infra.kafka.tail import Growth
from infra.settings import Settings
from projections.batch import Batch, Held, Unread
from projections.few import Few
from projections.many import held
from schemas.envelope import NAMES, Recorded
from schemas.errors import Incompatible, Unavailable
from schemas.models import OffsetRange
from schemas.topics import TOPICS

FEW = 200
"""Records up to which objects cost less than columns, whose price hardly depends on how many there are."""

DECODED_AT_ONCE = 250
"""Records decoded before others get their turn on the event loop: about 5 ms."""


class Reader:
    """Reads one topic; made by `open_reader`.

    Args:
        growing: follows the topic's partitions, from the archive on where Kafka has deleted what is next.
        tenant: whose events are read; the others are passed over.
    """

    def __init__(self, growing: Growing, decoder: Decoder, *, topic: str, tenant: str) -> None:
        self._growing = growing
        self._decoder = decoder
        self._topic = TOPICS[topic]
        self._tenant = tenant

    async def read(self, *, wait_ms: int = 1000) -> Batch | None:
        """The next batch; None when nothing came in `wait_ms`.

        Raises:
            Unavailable: Kafka, the archive or the registry is away; open the reader again.
            Incompatible: neither Kafka nor the archive has what is next, or the log does not reach so far.
        """
        grown = await self._growing.read(wait_ms=wait_ms)
        if not grown:
            return None
        first = {growth.partition: growth.first for growth in grown}
        ends = {growth.partition: growth.end for growth in grown}
        held, unread = await self._held(grown)
        return Batch(self._topic.name, first, ends, held, unread)

    async def _held(self, grown: Sequence[Growth]) -> tuple[Held, Sequence[Unread]]:
        if sum(growth.count for growth in grown) > FEW:
            try:
                return await self._columns(grown), ()
            except Incompatible:
                pass  # some record cannot be read: one by one it will be found
        return await self._rows(grown)

    async def _columns(self, grown: Sequence[Growth]) -> Held:
        frames = await asyncio.to_thread(self._frames, grown)
        await self._decoder.learn_ids({i for one in frames.values() for i in columns.schema_ids(one)})
        return await asyncio.to_thread(held, frames, self._topic, self._decoder)

    def _frames(self, grown: Sequence[Growth]) -> dict[int, pl.DataFrame]:
        """By partition, the records that count and are the tenant's."""
        found: dict[int, pl.DataFrame] = {}
        for growth in grown:
            part = OffsetRange(topic=self._topic.name, partition=growth.partition, first=growth.first, end=growth.end)
            rows = Fetched(part, growth.blocks, growth.end - growth.first).rows(NAMES)
            found[growth.partition] = columns.counting(columns.of_tenant(rows, self._tenant), self._topic)
        return found

    async def _rows(self, grown: Sequence[Growth]) -> tuple[Few, Sequence[Unread]]:
        raws = [raw for growth in grown for raw in self._raws(growth) if raw.tenant == self._tenant]
        unknown = await self._learn(raws)
        counted: list[Raw] = []
        events: list[Recorded] = []
        unread: list[Unread] = []
        for number, raw in enumerate(raws, start=1):
            if number % DECODED_AT_ONCE == 0:
                await asyncio.sleep(0)
            read = unknown.get(number - 1) or self._read(raw)
            if isinstance(read, Recorded):
                counted.append(raw)
                events.append(read)
            elif read is not None:
                unread.append(Unread(raw, read))
        return Few(events, counted), unread

    def _raws(self, growth: Growth) -> Iterator[Raw]:
        for block in growth.blocks:
            for raw in from_block(block, self._topic, growth.partition):
                if growth.first <= raw.offset < growth.end:
                    yield raw

    def _read(self, raw: Raw) -> Recorded | Exception | None:
        """The event, None for a void record, or why it cannot be read.

        Reading is a pure function of the bytes: whatever it raises, it will raise again.
        """
        try:
            return self._decoder.decode(raw)
        except Exception as fault:
            return fault

    async def _learn(self, raws: list[Raw]) -> dict[int, Exception]:
        """Learn the schemas; which records name one that nobody knows."""
        try:
            await self._decoder.learn(raws)
        except Unavailable:
            raise
        except Exception:
            return await self._learn_each(raws)
        return {}

    async def _learn_each(self, raws: Iterable[Raw]) -> dict[int, Exception]:
        unknown: dict[int, Exception] = {}
        for number, raw in enumerate(raws):
            try:
                if raw.counts:
                    await self._decoder.learn([raw])
            except Unavailable:
                raise
            except Exception as fault:
                unknown[number] = fault
        return unknown


@asynccontextmanager
async def open_reader(
    settings: Settings, decoder: Decoder, topic: str, reached: Mapping[int, int]
) -> AsyncIterator[Reader]:
    """A reader of `topic` that stands at the offsets `reached`.

    Raises:
        Unavailable: the brokers do not answer.
    """
    async with open_growing(settings, topic, reached) as growing:
        yield Reader(growing, decoder, topic=topic, tenant=settings.tenant)
