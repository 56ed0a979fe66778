"""Following the topic `access`: a key that is made or revoked is known to every service a moment later.

While Kafka is away the keys that are known stay valid: an outage of the log shall not lock everybody out. Health says
so, for a revocation cannot arrive either.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any, NoReturn

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from infra.access.keyring import KeyRing
from infra.access.uses import Uses
from infra.attempt import attempt
from infra.health import Health
from infra.kafka.consumer import make_consumer, stopped
from infra.kafka.facts import FactWriter
from infra.kafka.past import recall
from infra.kafka.records import Decoder, Raw, from_aiokafka
from infra.kafka.topics import physical
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.errors import Unavailable

ACCESS = "access"
COMPONENT = "access"
RETRY_S = 1.0
STOP_S = 5.0
ASK_EVERY_S = 3.0
SAY_EVERY_S = 1.0

log = structlog.get_logger()


async def follow(settings: Settings, ring: KeyRing, uses: Uses, health: Health) -> NoReturn:
    """Keep the ring as the log has it, and say which keys are used, until cancelled."""
    health.failed(COMPONENT, "the API keys on record are being read")
    follower = Follower(settings, ring, health)
    while True:
        follower.away(await attempt(_attempt(settings, follower, uses), "following the API keys"))
        await asyncio.sleep(RETRY_S)


async def _attempt(settings: Settings, follower: "Follower", uses: Uses) -> None:
    async with AsyncExitStack() as stack:
        decoder = await open_decoder(settings)
        writer = await stack.enter_async_context(FactWriter(settings, decoder.codec))
        await follower.open(stack)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(follower.pump(decoder))
            tasks.create_task(follower.ask())
            tasks.create_task(_say(uses, writer))


class Follower:
    """Reads the topic from its first record, and after a fault from where it stood."""

    def __init__(self, settings: Settings, ring: KeyRing, health: Health) -> None:
        self._settings = settings
        self._ring = ring
        self._health = health
        self._next: dict[TopicPartition, int] = {}
        self._consumer: AIOKafkaConsumer | None = None

    async def open(self, stack: AsyncExitStack) -> None:
        """Take a position in every partition.

        Raises:
            KafkaError: the brokers do not answer.
        """
        consumer = make_consumer(self._settings, fetch_max_wait_ms=250)
        consumer.subscribe([physical(self._settings, ACCESS)])  # without a group: all partitions
        stack.push_async_callback(stopped, consumer)
        await consumer.start()
        for at in consumer.assignment():
            self._next.setdefault(at, 0)
        self._consumer = consumer

    async def pump(self, decoder: Decoder) -> NoReturn:
        """Take in what comes, for ever.

        Raises:
            Incompatible: an event cannot be read, or neither Kafka nor the archive has the first ones.
            Unavailable: the registry does not answer.
        """
        ends = await self._ends()
        await recall(self._settings, self._opened, self._next, lambda _, raws: self._take(decoder, raws))
        for at, offset in self._next.items():
            self._opened.seek(at, offset)
        while True:
            if not self._ring.complete and all(self._next[at] >= end for at, end in ends.items()):
                self._ring.complete = True
                self._health.ok(COMPONENT)
            got: Mapping[TopicPartition, Sequence[Any]] = await self._opened.getmany(timeout_ms=1000)
            for at, records in got.items():
                await self._take(decoder, [from_aiokafka(record, self._settings.topic_prefix) for record in records])
                self._next[at] = records[-1].offset + 1

    async def ask(self) -> NoReturn:
        """Notice that Kafka is away while nothing happens: the client only goes on trying, in silence."""
        while True:
            await asyncio.sleep(ASK_EVERY_S)
            try:
                async with asyncio.timeout(ASK_EVERY_S):
                    await self._ends()
            except (KafkaError, OSError, TimeoutError) as fault:
                self.away(repr(fault))
            else:
                if self._ring.complete:
                    self._health.ok(COMPONENT)

    def away(self, cause: str) -> None:
        """Say that nothing new is heard, and what that means."""
        if self._ring.complete:
            self._health.ok(COMPONENT, f"the last known keys stay valid, no revocation arrives: {cause}")
        else:
            self._health.failed(COMPONENT, f"the API keys on record cannot be read: {cause}")

    async def _take(self, decoder: Decoder, raws: Sequence[Raw]) -> None:
        await decoder.learn([raw for raw in raws if raw.counts])
        for raw in raws:
            recorded = decoder.decode(raw)
            if recorded is not None:
                self._ring.take(recorded)

    async def _ends(self) -> Mapping[TopicPartition, int]:
        ends: Mapping[TopicPartition, int] = await self._opened.end_offsets(list(self._next))
        return ends

    @property
    def _opened(self) -> AIOKafkaConsumer:
        assert self._consumer is not None, "open it first"
        return self._consumer


async def _say(uses: Uses, writer: FactWriter) -> NoReturn:
    while True:
        await asyncio.sleep(SAY_EVERY_S)
        with suppress(Unavailable):  # it stays due
            await uses.say(writer)
