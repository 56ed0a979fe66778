"""A log to replay: interactions, and what some people said about consent."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from uuid6 import uuid7

from console.bounds import chosen_ranges
from console.export.asked import Asked, Format
from console.export.run import Done, Replay
from infra.kafka.connect import librdkafka_options
from infra.kafka.records import Decoder
from infra.kafka.topics import physical
from infra.settings import Settings
from schemas.envelope import Meta
from schemas.interactions import InteractionRecorded
from schemas.profiles import ConsentGiven, ConsentWithdrawn

PEOPLE = 40
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def fill(settings: Settings, decoder: Decoder, count: int, start: int = 0) -> None:
    """So many interactions of forty people, a second apart, the first of them number `start`."""
    events = (
        InteractionRecorded(user_id=f"u{i % PEOPLE}", item_id=f"i{i}", kind="view", occurred_at=BEGIN + timedelta(0, i))
        for i in range(start, start + count)
    )
    _append(settings, decoder, "interactions", [(event.user_id, event, None) for event in events], start)


def consent(settings: Settings, decoder: Decoder, count: int) -> None:
    """So many words of one person, given and withdrawn in turn; every fifth stands where it was not expected."""
    said = [(ConsentGiven if i % 2 else ConsentWithdrawn)(user_id="u1", purpose="training") for i in range(count)]
    _append(settings, decoder, "profiles", [("u1", event, i + (i % 5 == 4)) for i, event in enumerate(said)])


def _append(
    settings: Settings, decoder: Decoder, topic: str, events: list[tuple[str, Any, int | None]], start: int = 0
) -> None:
    producer = Producer(librdkafka_options(settings.kafka) | {"partitioner": "murmur2_random"})
    for i, (key, event, expected) in enumerate(events, start):
        meta = Meta(id=uuid7(), type=event.AVRO, source="test", subject=key, time=BEGIN, expected_offset=expected)
        producer.produce(
            physical(settings, topic),
            decoder.codec.encode(event),
            key=key,
            headers=list(meta.headers()),
            timestamp=1_700_000_000_000 + i * 1000,
        )
    producer.flush()


async def written(
    settings: Settings, decoder: Decoder, out: Path, format: Format, *, workers: int = 2, **asked: Any
) -> Done:
    """A replay to `out`, of the interactions unless something else is asked."""
    wanted = Asked(**{"format": format, "tenant": settings.tenant, "topics": ("interactions",), **asked})

    async def choose() -> Any:
        return await chosen_ranges(settings, wanted.topics, wanted.first, wanted.end, wanted.ranges)

    return await Replay(settings, decoder, wanted, choose, workers, lambda _: None).to(out)
