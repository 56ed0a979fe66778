"""A moment of the log: where each partition ended then."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from infra.kafka.fetch import fetch, open_client
from infra.kafka.ranges import checked, ranges_between
from infra.settings import Settings
from schemas.errors import Invalid
from schemas.models import OffsetRange
from schemas.position import Position

TICK = timedelta(milliseconds=1)
"""What record times are rounded down to."""


async def ranges_at(settings: Settings, topics: Iterable[str], moment: datetime) -> list[OffsetRange]:
    """What these topics held at a time: the records stamped before it or at it.

    The stamp is the producer's when it appended, so this is what the log knew then, whatever the events speak of.

    Raises:
        Invalid: the time has not come yet.
        NotFound: there is no such topic.
        Unavailable: the brokers do not answer.
    """
    if moment > datetime.now(UTC):
        raise Invalid(
            f"{moment.isoformat()} has not come yet: nobody knows what the log will hold; give a time that is past",
            code="as_of_in_future",
        )
    return await ranges_between(settings, topics, None, moment + TICK)


async def ranges_up_to(settings: Settings, topics: Iterable[str], positions: Sequence[Position]) -> list[OffsetRange]:
    """What these topics held when the last of these positions was written.

    The partitions that are named end with their position; the others with what was stamped no later than the last of
    them.

    Raises:
        Invalid: a position is not in the log, or a partition is named twice.
        NotFound: there is no such topic or partition.
        Unavailable: the brokers do not answer.
    """
    named = {(one.topic, one.partition): one for one in positions}
    if len(named) < len(positions):
        raise Invalid("give one position of each partition: a moment has no two of them", code="repeated_partition")
    parts = [
        OffsetRange(topic=one.topic, partition=one.partition, first=one.offset, end=one.offset + 1) for one in positions
    ]
    last = await _stamped(settings, await checked(settings, parts))
    ranges = await ranges_between(settings, topics, None, last + TICK)
    return [_ending(part, named.get((part.topic, part.partition))) for part in ranges]


def _ending(part: OffsetRange, position: Position | None) -> OffsetRange:
    if position is None:
        return part
    return OffsetRange(topic=part.topic, partition=part.partition, first=part.first, end=position.offset + 1)


async def _stamped(settings: Settings, parts: Sequence[OffsetRange]) -> datetime:
    """Time of the latest of these records; each part is one."""
    stamps: list[int] = []
    async with open_client(settings, sorted({part.topic for part in parts})) as client:
        async for fetched in fetch(client, settings, parts):
            rows = fetched.rows(())
            stamps += rows["timestamp_ms"].to_list()
    if not stamps:
        raise Invalid("no record stands at this position: give one that an answer gave", code="no_such_record")
    return datetime.fromtimestamp(max(stamps) / 1000, UTC)
