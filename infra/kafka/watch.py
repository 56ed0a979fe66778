"""Noticing that Kafka is away while nothing happens: the client libraries only go on trying, in silence."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NoReturn

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from infra.ending import ended
from infra.health import Health
from infra.kafka.consumer import make_consumer, started
from infra.kafka.topics import physical
from infra.settings import Settings

COMPONENT = "kafka"
EVERY_S = 3.0


@asynccontextmanager
async def watched(settings: Settings, health: Health, topic: str) -> AsyncIterator[None]:
    """Watch beside some work, on a connection of its own.

    Args:
        topic: without prefix.

    Raises:
        Unavailable: the brokers do not answer now.
    """
    at = TopicPartition(physical(settings, topic), 0)
    async with started(settings, make_consumer(settings)) as consumer:
        watching = asyncio.create_task(watch(settings, health, consumer, lambda: at))
        try:
            yield
        finally:
            await ended(watching)


async def watch(
    settings: Settings, health: Health, consumer: AIOKafkaConsumer, partition: Callable[[], TopicPartition | None]
) -> NoReturn:
    """Ask for the end of a partition now and then, and say in `health` whether the answer comes, for ever.

    Args:
        consumer: started.
        partition: which one to ask for; None when the one before will do, or there is nothing to ask for yet.
    """
    at: TopicPartition | None = None
    while True:
        at = partition() or at
        if at is not None:
            try:
                async with asyncio.timeout(EVERY_S):  # unlike wait_for before Python 3.12 it swallows no cancellation
                    await consumer.end_offsets([at])
                health.ok(COMPONENT)
            except (KafkaError, OSError, TimeoutError) as fault:
                health.failed(COMPONENT, f"{settings.kafka.bootstrap} does not answer: {fault!r}")
        await asyncio.sleep(EVERY_S)
