"""Noticing that Kafka is away while nothing happens: the client libraries only go on trying, in silence."""

import asyncio
from collections.abc import Callable
from typing import NoReturn

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from infra.health import Health
from infra.settings import Settings

COMPONENT = "kafka"
EVERY_S = 3.0


async def watch(
    settings: Settings, health: Health, consumer: AIOKafkaConsumer, partition: Callable[[], TopicPartition | None]
) -> NoReturn:
    """Ask for the end of a partition now and then, and say in `health` whether the answer comes, for ever.

    Args:
        consumer: started.
        partition: which one to ask for; None asks for nothing this time.
    """
    while True:
        at = partition()
        if at is not None:
            try:
                async with asyncio.timeout(
                    EVERY_S
                ):  # unlike wait_for before Python 3.12 it never swallows a cancellation
                    await consumer.end_offsets([at])
                health.ok(COMPONENT)
            except (KafkaError, OSError, TimeoutError) as fault:
                health.failed(COMPONENT, f"{settings.kafka.bootstrap} does not answer: {fault!r}")
        await asyncio.sleep(EVERY_S)
