"""Which part of the log is meant: offsets, times or ranges, as people write them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from infra.kafka.ranges import checked, ranges_between
from infra.settings import Settings
from schemas.errors import Invalid
from schemas.models import OffsetRange

OFFSET = re.compile(r"(?:(?P<topic>[a-z][a-z0-9.-]*)/)?(?P<partition>\d+):(?P<offset>\d+)")
RANGE = re.compile(r"(?P<topic>[a-z][a-z0-9.-]*)/(?P<partition>\d{1,9})/(?P<first>\d{1,18})\.\.(?P<end>\d{1,18})")

Place = tuple[str, int]


@dataclass(frozen=True)
class Bound:
    """One end of what is meant: a time for all partitions, or an offset for each that is named, or nothing."""

    time: datetime | None = None
    offsets: dict[Place, int] = field(default_factory=dict)


async def chosen_ranges(
    settings: Settings, topics: Sequence[str], first: str | None, end: str | None, ranges: Sequence[str] = ()
) -> list[OffsetRange]:
    """The part of these topics from `first` on and before `end`, and these ranges; all of it in the log.

    Args:
        first: `PARTITION:OFFSET,...` (with several topics `TOPIC/PARTITION:OFFSET`), or a time; the start when None.
        end: as `first`, not included; the end when None. Where offsets are named, other partitions are left out.
        ranges: each `TOPIC/PARTITION/FIRST..END`.

    Raises:
        Invalid: a bound cannot be read, or is not within the log.
        NotFound: there is no such topic or partition.
        Unavailable: the brokers do not answer.
    """
    named = [range_of(text) for text in ranges]
    if not topics and not named:
        raise Invalid("say which part of the log: --topic, or --range", code="nothing_asked")
    whole = await _between(settings, topics, bound_of(first, topics), bound_of(end, topics)) if topics else []
    return await checked(settings, [*whole, *named])


async def _between(settings: Settings, topics: Sequence[str], since: Bound, until: Bound) -> list[OffsetRange]:
    there = await ranges_between(settings, topics, since.time, until.time)
    named = since.offsets.keys() | until.offsets.keys()
    if unknown := named - {(part.topic, part.partition) for part in there}:
        listed = ", ".join(f"{topic}/{partition}" for topic, partition in sorted(unknown))
        last = len(there) // len(set(topics)) - 1
        raise Invalid(f"there is no partition {listed}: partitions go from 0 to {last}", code="unknown_partition")
    return [_bounded(part, since, until) for part in there if not named or (part.topic, part.partition) in named]


def _bounded(part: OffsetRange, since: Bound, until: Bound) -> OffsetRange:
    place = (part.topic, part.partition)
    first, end = since.offsets.get(place, part.first), until.offsets.get(place, part.end)
    return OffsetRange(topic=part.topic, partition=part.partition, first=first, end=end)


def bound_of(text: str | None, topics: Sequence[str]) -> Bound:
    """A bound as people write it.

    Raises:
        Invalid: it is neither offsets nor a time, or leaves open which topic's offsets it means.
    """
    if text is None:
        return Bound()
    matches = [OFFSET.fullmatch(part.strip()) for part in text.split(",")]
    if all(matches):
        return Bound(offsets={_place(match, topics): int(match["offset"]) for match in matches if match})
    try:
        return Bound(time_of(text))
    except Invalid as fault:
        raise Invalid(
            f"'{text}' is neither PARTITION:OFFSET, such as 0:100,1:250, nor a time, such as 2026-01-31T12:00:00",
            code="bad_bound",
        ) from fault


def time_of(text: str | None) -> datetime | None:
    """A time as people write it; UTC when it names no zone.

    Raises:
        Invalid: it is none.
    """
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError as fault:
        raise Invalid(f"'{text}' is no time: write 2026-01-31 or 2026-01-31T12:00:00Z", code="bad_time") from fault
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _place(match: re.Match[str], topics: Sequence[str]) -> Place:
    topic = match["topic"] or (topics[0] if len(topics) == 1 else None)
    if topic is None:
        raise Invalid(f"say which topic's offset {match[0]} is, such as {topics[0]}/{match[0]}", code="topic_left_open")
    return topic, int(match["partition"])


def range_of(text: str) -> OffsetRange:
    """A range as people write it.

    Raises:
        Invalid: it is none.
    """
    match = RANGE.fullmatch(text)
    if match is None:
        raise Invalid(
            f"'{text}' is no range: write TOPIC/PARTITION/FIRST..END, interactions/0/100..250", code="bad_range"
        )
    return OffsetRange(
        topic=match["topic"], partition=int(match["partition"]), first=int(match["first"]), end=int(match["end"])
    )
