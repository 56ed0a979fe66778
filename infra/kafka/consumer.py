"""aiokafka consumers with the options that this project insists on."""

from typing import Any

from aiokafka import AIOKafkaConsumer

from infra.kafka.connect import aiokafka_options
from infra.settings import Settings


def group_id(settings: Settings, name: str) -> str:
    """Name on the brokers of the consumer group that we call `name`."""
    return f"{settings.topic_prefix}retrace.{name}"


def make_consumer(settings: Settings, *, group: str | None = None, **options: Any) -> AIOKafkaConsumer:
    """A consumer that commits nothing by itself and never jumps over records it has lost.

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
