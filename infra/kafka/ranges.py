"""Exact parts of the log: what there is, and whether a range lies in it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from aiokafka import AIOKafkaClient, TopicPartition
from aiokafka.errors import for_code
from aiokafka.protocol.offset import OffsetRequest

from infra.kafka.fetch import READ_COMMITTED, leader_of, name_of, open_client
from infra.kafka.patience import answered
from infra.kafka.topics import logical, physical
from infra.settings import Settings
from schemas.errors import Invalid, NotFound
from schemas.models import OffsetRange
from schemas.topics import TOPICS

EARLIEST, LATEST = -2, -1
NO_REPLICA = -1


async def checked(settings: Settings, ranges: Iterable[OffsetRange]) -> list[OffsetRange]:
    """These ranges in the order they are read, when the log holds them all.

    Raises:
        Invalid: a range ends before it begins, overlaps another, or is not within the log.
        NotFound: there is no such topic or partition.
        Unavailable: the brokers do not answer.
    """
    ordered = ordered_ranges(ranges)
    whole = {(r.topic, r.partition): r for r in await ranges_now(settings, {part.topic for part in ordered})}
    for part in ordered:
        log = whole.get((part.topic, part.partition))
        if log is None:
            raise NotFound(f"the log has no partition {part.topic}/{part.partition}", code="unknown_partition")
        if part.first < log.first:
            start = f"what Kafka and the archive have begins at {log.first}; begin there"
            raise Invalid(f"{name_of(part)} begins before the start of the log: {start}", code="range_before_start")
        if part.end > log.end:
            end = f"the log ends at {log.end}; end there, or wait"
            raise Invalid(f"{name_of(part)} goes past the end of the log: {end}", code="range_past_end")
    return ordered


def ordered_ranges(ranges: Iterable[OffsetRange]) -> list[OffsetRange]:
    """In the order they are read.

    Raises:
        Invalid: one ends before it begins, or two overlap.
    """
    ordered = sorted(ranges, key=lambda r: (r.topic, r.partition, r.first))
    for part in ordered:
        if part.first < 0 or part.end < part.first:
            raise Invalid(f"{name_of(part)} is no range: its end lies before its first offset", code="bad_range")
    for one, other in pairwise(ordered):
        if (one.topic, one.partition) == (other.topic, other.partition) and other.first < one.end:
            raise Invalid(f"{name_of(one)} and {name_of(other)} overlap: join them", code="bad_range")
    return ordered


def sliced(ranges: Iterable[OffsetRange], size: int) -> Iterator[OffsetRange]:
    """The same ranges in parts of at most `size` offsets, cut at multiples of it, so that all cut alike."""
    for part in ranges:
        first = part.first
        while first < part.end:
            end = min(first - first % size + size, part.end)
            yield OffsetRange(topic=part.topic, partition=part.partition, first=first, end=end)
            first = end


async def ranges_now(settings: Settings, topics: Iterable[str]) -> list[OffsetRange]:
    """The whole of these topics as they stand, archive and Kafka as one, one range per partition.

    Raises:
        NotFound: there is no such topic.
        Unavailable: the brokers do not answer.
    """
    return await ranges_between(settings, topics, None, None)


async def ranges_between(
    settings: Settings, topics: Iterable[str], since: datetime | None, until: datetime | None
) -> list[OffsetRange]:
    """What these topics took in from `since` on and before `until`, by the time stamped on the records.

    Raises:
        NotFound: there is no such topic.
        Unavailable: the brokers do not answer.
    """
    starts, ranges = await _in_kafka(settings, topics, since, until)
    return [
        await _with_archive(settings, part, start, since, until) if start else part
        for start, part in zip(starts, ranges, strict=True)
    ]


async def kafka_ranges(settings: Settings, topics: Iterable[str]) -> list[OffsetRange]:
    """The part of these topics that Kafka itself has, one range per partition.

    Raises:
        NotFound: there is no such topic.
        Unavailable: the brokers do not answer.
    """
    return (await _in_kafka(settings, topics, None, None))[1]


async def _in_kafka(
    settings: Settings, topics: Iterable[str], since: datetime | None, until: datetime | None
) -> tuple[list[int], list[OffsetRange]]:
    """Where each partition begins in Kafka, and its range between two times."""
    wanted = sorted(set(topics))
    if unknown := [topic for topic in wanted if topic not in TOPICS]:
        raise NotFound(f"there is no topic {', '.join(unknown)}: known are {', '.join(TOPICS)}", code="unknown_topic")
    async with open_client(settings, wanted) as client:
        places = [place for topic in wanted for place in _partitions(client, settings, topic)]
        starts = await _offsets(client, places, EARLIEST)
        ends = await _offsets(client, places, LATEST)
        firsts = starts if since is None else await _offsets(client, places, _stamp(since))
        stops = ends if until is None else await _offsets(client, places, _stamp(until))
    ranges = [_range(settings, p, firsts.get(p, ends[p]), stops.get(p, ends[p])) for p in places]
    return [starts[place] for place in places], ranges


async def _with_archive(
    settings: Settings, part: OffsetRange, start: int, since: datetime | None, until: datetime | None
) -> OffsetRange:
    """A range that Kafka can only give from `start` on, with what the archive has before that."""
    from infra.archive.reading import first_since, holding_at  # so that nobody else carries its libraries

    holding = await holding_at(settings, part.topic, part.partition, start)
    if holding is None:
        return part
    first = holding.first if since is None else await first_since(settings, holding, _stamp(since))
    end = None if until is None else await first_since(settings, holding, _stamp(until))
    return OffsetRange(
        topic=part.topic,
        partition=part.partition,
        first=part.first if first is None else min(first, part.first),
        end=part.end if end is None else min(end, part.end),
    )


def _stamp(when: datetime) -> int:
    return int(when.timestamp() * 1000)


def _range(settings: Settings, place: TopicPartition, first: int, end: int) -> OffsetRange:
    return OffsetRange(
        topic=logical(settings, place.topic), partition=place.partition, first=first, end=max(first, end)
    )


def _partitions(client: AIOKafkaClient, settings: Settings, topic: str) -> list[TopicPartition]:
    name = physical(settings, topic)
    numbers = client.cluster.partitions_for_topic(name)
    if not numbers:
        raise NotFound(f"the log has no topic {topic} yet: start the services first", code="unknown_topic")
    return [TopicPartition(name, number) for number in sorted(numbers)]


async def _offsets(client: AIOKafkaClient, places: Sequence[TopicPartition], stamp: int) -> dict[TopicPartition, int]:
    """First offset at or after a time in milliseconds (or `EARLIEST`, `LATEST`); nothing where none is so late."""
    topics = ", ".join(sorted({place.topic for place in places}))
    return await answered(client, f"where {topics} begins and ends", lambda: _offsets_once(client, places, stamp))


async def _offsets_once(
    client: AIOKafkaClient, places: Sequence[TopicPartition], stamp: int
) -> dict[TopicPartition, int]:
    asked: defaultdict[int, defaultdict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for place in places:
        asked[leader_of(client, place)][place.topic].append((place.partition, stamp))
    found: dict[TopicPartition, int] = {}
    for leader, topics in asked.items():
        response: Any = await client.send(leader, OffsetRequest(NO_REPLICA, READ_COMMITTED, list(topics.items())))
        for topic, partitions in response.topics:
            for number, code, _, offset in partitions:
                if code:
                    raise for_code(code)()
                if offset >= 0:
                    found[TopicPartition(topic, number)] = offset
    return found
