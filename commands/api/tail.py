"""Following the decided topics: who waits for an answer gets it; items of the catalogue and the erased are known.

The tail has its position in every partition before the first command is sent, and goes on from there, so that no
answer can slip by between sending and waiting.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from commands.api.outcomes import OUTCOME_TYPES, Outcomes
from commands.api.personal import People
from infra.health import Health
from infra.kafka.consumer import make_consumer, stopped
from infra.kafka.partitioner import partition_of
from infra.kafka.past import recall
from infra.kafka.records import Decoder, Raw, from_aiokafka
from infra.kafka.topics import logical, physical
from infra.settings import Settings
from schemas.errors import Unavailable
from schemas.topics import DECIDED

CATALOG = "catalog"
ITEM_ADDED = b"retrace.catalog.ItemAdded"
USER_ERASED = b"retrace.profiles.UserErased"
LOOK_BACK = 5000
"""Records of each partition that are read again at the start, so that recent answers are known."""

log = structlog.get_logger()


class Tail:
    """Reads every decided partition from close to its end, the catalogue from its beginning."""

    def __init__(
        self, settings: Settings, health: Health, decoder: Decoder, outcomes: Outcomes, people: People
    ) -> None:
        self._settings = settings
        self._health = health
        self._decoder = decoder
        self._outcomes = outcomes
        self._people = people
        self._items: set[tuple[str, str]] = set()
        self._next: dict[TopicPartition, int] = {}
        self._moved = asyncio.Event()
        self._is_caught_up = False
        self._consumer: AIOKafkaConsumer = make_consumer(settings, fetch_max_wait_ms=250)
        self._asker: AIOKafkaConsumer = make_consumer(settings)

    @property
    def asker(self) -> AIOKafkaConsumer:
        """A client that fetches nothing, so that what it asks does not wait behind a fetch on the same connection."""
        return self._asker

    def any_partition(self) -> TopicPartition | None:
        """A partition to ask for when it has to be known whether Kafka answers."""
        return next(iter(self._next), None)

    async def start(self, partitions: Mapping[str, int]) -> None:
        """Take a position in every partition.

        Args:
            partitions: number of partitions of each decided topic.
        """
        await self._consumer.start()
        await self._asker.start()
        every = [
            TopicPartition(physical(self._settings, name), number)
            for name in DECIDED
            for number in range(partitions[name])
        ]
        ends = await self._asker.end_offsets(every)
        begins = await self._asker.beginning_offsets(every)
        for at in every:
            is_catalog = logical(self._settings, at.topic) == CATALOG
            self._next[at] = 0 if is_catalog else max(begins[at], ends[at] - LOOK_BACK)
        await recall(self._settings, self._asker, self._next, self._take)
        self._consumer.assign(every)
        for at, start in self._next.items():
            self._consumer.seek(at, start)

    async def stop(self) -> None:
        """Let go of the connection."""
        await stopped(self._consumer)
        await stopped(self._asker)

    async def run(self) -> NoReturn:
        """Follow, for ever.

        Raises:
            Incompatible: an answer that counts cannot be read.
            Unavailable: the registry does not answer.
        """
        while True:
            try:
                got: Mapping[TopicPartition, Sequence[Any]] = await self._consumer.getmany(timeout_ms=1000)
            except KafkaError as fault:
                self._health.failed("tail", f"answers cannot be read: {fault!r}")
                await asyncio.sleep(0.5)
                continue
            if self._is_caught_up:
                self._health.ok("tail")
            for at, records in got.items():
                await self._take(at, [from_aiokafka(record, self._settings.topic_prefix) for record in records])
            if got:
                self._moved.set()
                self._moved = asyncio.Event()

    async def _take(self, at: TopicPartition, raws: Sequence[Raw]) -> None:
        counted = [raw for raw in raws if raw.counts]
        outcomes = [raw for raw in counted if raw.header("ce_type").decode() in OUTCOME_TYPES]
        await self._decoder.learn(outcomes)
        decoded = {raw.offset: self._decoder.codec.decode(raw.value or b"") for raw in outcomes}
        self._outcomes.take([(raw, decoded.get(raw.offset)) for raw in counted])
        if raws and raws[0].topic.name == CATALOG:
            self._items.update((raw.tenant, raw.key) for raw in counted if raw.header("ce_type") == ITEM_ADDED)
        for raw in counted:
            if raw.header("ce_type") == USER_ERASED:
                self._people.erase(raw.tenant, raw.key)
        self._next[at] = raws[-1].offset + 1

    def knows_item(self, tenant: str, item_id: str) -> bool:
        """Whether a tenant's catalogue, as far as it has been read, has had this item."""
        return (tenant, item_id) in self._items

    async def begin(self) -> None:
        """Wait until everything now on record has been read; from then on its health is that of reading.

        Raises:
            Unavailable: Kafka does not answer in time.
        """
        await self.catch_up()
        self._is_caught_up = True
        self._health.ok("tail")

    async def catch_up(self, item_ids: Sequence[str] | None = None) -> None:
        """Wait until what the catalogue says now of these items, or everything now on record, has been read.

        Raises:
            Unavailable: Kafka does not answer in time.
        """
        wanted = list(self._next)
        if item_ids is not None:
            catalog = [at for at in wanted if logical(self._settings, at.topic) == CATALOG]
            numbers = {partition_of(item_id, len(catalog)) for item_id in item_ids}
            wanted = [at for at in catalog if at.partition in numbers]
        try:
            async with asyncio.timeout(self._settings.answer_timeout_s):
                for at, end in (await self._asker.end_offsets(wanted)).items():
                    while self._next[at] < end:
                        await self._moved.wait()
        except (KafkaError, OSError, TimeoutError) as fault:
            raise Unavailable(
                f"Kafka at {self._settings.kafka.bootstrap} does not answer ({fault!r}): try again in a moment"
            ) from fault
