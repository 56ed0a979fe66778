"""Which uploads there are and how far they are durable, read from the topic `uploads`: nothing else remembers."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn, Self
from uuid import UUID

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from uuid6 import uuid7

from commands.api.bulk.progress import Progress, evolve
from commands.api.request import Intent
from infra.health import Health
from infra.kafka.consumer import make_consumer, stopped
from infra.kafka.facts import FactWriter
from infra.kafka.partitioner import partition_of
from infra.kafka.past import recall
from infra.kafka.records import Decoder, Raw, from_aiokafka
from infra.kafka.topics import physical
from infra.settings import Settings
from schemas.errors import Unavailable
from schemas.uploads import UploadsEvent

TOPIC = "uploads"
COMPONENT = "uploads"
REMEMBERED = 10_000
"""Uploads in memory, those of which something was heard last. An older one begins anew, and its lines count once."""


class Ledger:
    """Follows the topic `uploads` and appends to it.

    Args:
        writer: of the service.
        partitions: of the topic.
        asker: a client that fetches nothing, to ask how far the topic goes.
    """

    def __init__(
        self,
        settings: Settings,
        health: Health,
        decoder: Decoder,
        writer: FactWriter,
        asker: AIOKafkaConsumer,
        partitions: int,
    ) -> None:
        self._settings = settings
        self._health = health
        self._decoder = decoder
        self._writer = writer
        self._asker = asker
        self._partitions = partitions
        self._uploads: OrderedDict[tuple[str, str], Progress] = OrderedDict()
        self._next: dict[TopicPartition, int] = {}
        self._moved = asyncio.Event()
        self._consumer: AIOKafkaConsumer = make_consumer(settings, fetch_max_wait_ms=250)

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await stopped(self._consumer)
            raise
        return self

    async def _start(self) -> None:
        name = physical(self._settings, TOPIC)
        await self._consumer.start()
        self._next = {TopicPartition(name, number): 0 for number in range(self._partitions)}
        await recall(self._settings, self._consumer, self._next, self._take)
        self._consumer.assign(list(self._next))
        for at, start in self._next.items():
            self._consumer.seek(at, start)

    async def __aexit__(self, *exception: object) -> None:
        await stopped(self._consumer)

    async def run(self) -> NoReturn:
        """Follow, for ever.

        Raises:
            Incompatible: what is on record cannot be read.
            Unavailable: the registry does not answer.
        """
        while True:
            try:
                got: Mapping[TopicPartition, Sequence[Any]] = await self._consumer.getmany(timeout_ms=1000)
            except KafkaError as fault:
                self._health.failed(COMPONENT, f"uploads cannot be followed: {fault!r}")
                await asyncio.sleep(0.5)
                continue
            self._health.ok(COMPONENT)
            for at, records in got.items():
                await self._take(at, [from_aiokafka(record, self._settings.topic_prefix) for record in records])
            if got:
                self._moved.set()
                self._moved = asyncio.Event()

    async def of(self, tenant: str, upload_id: str) -> Progress | None:
        """What is on record now; None when nothing is.

        Raises:
            Unavailable: Kafka does not answer in time.
        """
        at = list(self._next)[partition_of(upload_id, len(self._next))]
        try:
            async with asyncio.timeout(self._settings.answer_timeout_s):
                end = (await self._asker.end_offsets([at]))[at]
                while self._next[at] < end:
                    await self._moved.wait()
        except (KafkaError, OSError, TimeoutError) as fault:
            raise Unavailable(
                f"Kafka at {self._settings.kafka.bootstrap} does not answer ({fault!r}): try again in a moment"
            ) from fault
        return self.seen(tenant, upload_id)

    def seen(self, tenant: str, upload_id: str) -> Progress | None:
        """What has been read so far."""
        return self._uploads.get((tenant, upload_id))

    async def append(self, intent: Intent, events: Sequence[UploadsEvent]) -> None:
        """Put on record.

        Raises:
            Unavailable: Kafka did not confirm in time.
        """
        facts = [(event, intent.meta(event.AVRO, event.upload_id, None)) for event in events]
        new = [(event, replace(meta, id=UUID(int=uuid7().int))) for event, meta in facts]
        await self._writer.append_all(new)

    async def _take(self, at: TopicPartition, raws: Sequence[Raw]) -> None:
        await self._decoder.learn(raws)
        for raw in raws:
            if (recorded := self._decoder.decode(raw)) is not None:
                key = (recorded.meta.tenant, recorded.event.upload_id)
                self._uploads[key] = evolve(self._uploads.pop(key, Progress()), recorded.event, recorded.meta)
                if len(self._uploads) > REMEMBERED:
                    self._uploads.popitem(last=False)
        self._next[at] = raws[-1].offset + 1
