"""The index must point at every event of a key, whatever comes first, and be silent about what it does not know."""

import zlib
from typing import Any

from psycopg import AsyncConnection

from infra.settings import Settings
from projections.testing import Log, given, minute
from projections.views import event_index
from schemas.envelope import Recorded
from schemas.interactions import InteractionRecorded
from schemas.models import ModelRetired
from schemas.outcomes import CommandRejected
from schemas.profiles import UserRegistered

REFUSED = CommandRejected(command_id="c", command_type="t", code="x", detail="x", status=409)


def met(user: str) -> InteractionRecorded:
    return InteractionRecorded(user_id=user, item_id="a", kind="view", occurred_at=minute(1))


async def signatures(
    database: AsyncConnection[Any], settings: Settings, *events: Recorded
) -> dict[tuple[str, int, int], int]:
    """CRC-32 by topic, partition and offset."""
    found = {}
    for row in await given(database, settings.postgres.db_schema, event_index.VIEW, *events):
        for place in range(128):
            if value := int(row["signatures"][32 * place : 32 * place + 32], 2):
                found[row["topic"], row["partition"], row["block"] * 128 + place] = value
    return found


async def test_every_event_is_found_by_the_sum_of_its_key(database: AsyncConnection[Any], settings: Settings) -> None:
    """Over the border of a row, too, and in every partition."""
    log = Log()
    events = [log.add(met(f"user {n % 7}"), partition=n % 2) for n in range(300)]
    found = await signatures(database, settings, *events)
    assert found == {
        ("interactions", e.position.partition, e.position.offset): zlib.crc32(e.meta.subject.encode()) for e in events
    }


async def test_it_keeps_the_topics_of_explanations_alone(database: AsyncConnection[Any], settings: Settings) -> None:
    """Answers to commands fill the decided topics, so that a reader need not look at each; others are not wanted."""
    log = Log()
    kept = [log.add(UserRegistered(user_id="ana"))]
    kept.append(log.add(REFUSED, key="ana", topic="profiles"))
    found = await signatures(database, settings, *kept)
    assert found == {("profiles", 0, n): zlib.crc32(b"ana") for n in range(2)}
    assert await signatures(database, settings, log.add(REFUSED, key="m", topic="models")) == found
    assert ModelRetired not in event_index.VIEW.reads
