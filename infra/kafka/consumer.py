"""aiokafka consumers with the options that this project insists on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from infra.kafka.connect import aiokafka_options
from infra.settings import Settings
from schemas.errors import Unavailable


def group_id(settings: Settings, name: str) -> str:
    """Name on the brokers of the consumer group that we call `name`."""
    return f"{settings.topic_prefix}retrace.{name}"


def make_consumer(settings: Settings, *, group: str | None = None, **options: Any) -> AIOKafkaConsumer:
    """A consumer that commits nothing by itself.

    Where it is not told otherwise it begins with the first record that Kafka has; `infra.kafka.past` has earlier ones.

    Args:
        group: consumer group, without prefix; None for one that assigns its partitions itself.
        options: further aiokafka options; they win.
    """
    defaults = {
        "group_id": group_id(settings, group) if group else None,
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "isolation_level": "read_committed",
        "fetch_max_wait_ms": 500,
        "max_partition_fetch_bytes": 4 * 1024 * 1024,
    }
    return AIOKafkaConsumer(**{**aiokafka_options(settings.kafka), **defaults, **options})


async def stopped(consumer: AIOKafkaConsumer) -> None:
    """Stop a consumer.

    While brokers are away, aiokafka 0.14 may end `stop` with the cancellation of a task of its own, which would end the
    caller in silence, and leave its connections open.
    """
    stopping = asyncio.create_task(consumer.stop())
    await asyncio.wait({stopping})
    if stopping.cancelled():
        await consumer._client.close()
    else:
        stopping.result()


@asynccontextmanager
async def started(settings: Settings, consumer: AIOKafkaConsumer) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer from its start to its stop.

    Raises:
        Unavailable: the brokers do not answer when it starts.
    """
    try:
        try:
            await consumer.start()
        except (KafkaError, OSError) as fault:
            raise Unavailable(f"Kafka at {settings.kafka.bootstrap} does not answer: {fault!r}") from fault
        yield consumer
    finally:
        await stopped(consumer)


@asynccontextmanager
async def open_consumer(settings: Settings, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer that belongs to no group and, unless told otherwise, never jumps to another offset by itself.

    Raises:
        Unavailable: the brokers do not answer.
    """
    usual = {"auto_offset_reset": "none", "fetch_max_bytes": 16 * 1024 * 1024}
    consumer = make_consumer(settings, **{**usual, **options})
    try:
        await consumer.start()
        yield consumer
    except (KafkaError, OSError) as fault:
        raise Unavailable(f"Kafka at {settings.kafka.bootstrap} does not answer: {fault!r}") from fault
    finally:
        await stopped(consumer)
