"""Archiving a log and letting Kafka delete what was archived, for the tests of those who read it afterwards."""

from collections.abc import Callable, Sequence
from pathlib import Path

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from infra.archive.create import Archived, Archiver
from infra.kafka.connect import librdkafka_options
from infra.kafka.ranges import kafka_ranges, ranges_now
from infra.kafka.topics import physical
from infra.settings import Settings
from schemas.models import OffsetRange


def with_archive(settings: Settings, folder: Path) -> Settings:
    """The same settings with an archive and a notary of their own."""
    own = {"key_file": folder / "notary.key", "public_keys": folder / "notary"}
    notary = settings.notary.model_copy(update=own)
    return settings.model_copy(update={"archive": (folder / "archive").as_uri(), "notary": notary})


async def archived(settings: Settings, *topics: str) -> list[Archived]:
    """Archive all that there is of these topics."""
    ranges = await ranges_now(settings, topics)
    return [one async for one in Archiver(settings, lambda _: None).archive(ranges)]


async def cut(
    settings: Settings,
    topic: str,
    upto: Callable[[int], int] = lambda end: end,
    ranges: Sequence[OffsetRange] | None = None,
) -> None:
    """Let Kafka delete the beginning of each partition, up to an offset that depends on where it ends.

    Args:
        ranges: the partitions as they were before something was added that is to stay.
    """
    admin = AdminClient(librdkafka_options(settings.kafka) | {"log_level": 0})
    parts = await kafka_ranges(settings, [topic]) if ranges is None else ranges
    wanted = [
        TopicPartition(physical(settings, topic), part.partition, upto(part.end))
        for part in parts
        if part.end and part.topic == topic
    ]
    for answer in admin.delete_records(wanted).values():
        answer.result(60)
