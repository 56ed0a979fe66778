"""What the tests of rebuilds share: many events at once, and how far a read model and its rebuild are."""

import asyncio
from typing import Any

from psycopg import AsyncConnection

from infra.kafka.facts import FactWriter
from infra.settings import Settings
from projections import rebuild
from projections.attempt import Attempt, Attempts
from projections.view import Projection

from ..eventually import eventually
from . import telling

Database = AsyncConnection[dict[str, Any]]

TOTAL = "SELECT coalesce(sum(next_offset), 0) FROM projection_offsets WHERE view = '{}'"
LEFT = """
    SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
    WHERE nspname = current_schema() AND relname ~ '^(user_history|popularity)_v1_[0-9a-f]{8}' ORDER BY relname
"""


async def append(writer: FactWriter, count: int, item: str = "a") -> None:
    """Interactions of 97 users with 7 items."""
    await telling.append(writer, *(telling.viewed(f"u{n % 97}", f"{item}{n % 7}") for n in range(count)))


async def column(database: Database, query: str) -> list[Any]:
    return [next(iter(row.values())) async for row in await database.execute(query.encode())]


async def reached(database: Database, projection: Projection, count: int) -> None:
    """Wait until the live read model has seen so many records."""

    async def check() -> bool:
        return bool(await column(database, TOTAL.format(projection.name)) == [count])

    await eventually(check)


def slowly(settings: Settings, projection: Projection) -> "asyncio.Task[Attempt]":
    """A rebuild in this process that takes most of a minute, where it is not stopped."""
    return asyncio.create_task(rebuild.rebuild(settings, projection, rate=50))


HELD = """
    SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = hashtext(current_schema())::oid
"""
"""Locks of whoever works on rebuilds; the server sees a moment later that a process has been killed."""


async def under_way(database: Database, view: str, *, folded: int = 1) -> Attempt:
    """The rebuild of a view, once it has read so much."""

    async def check() -> Attempt | None:
        found = await Attempts(database).all(view)
        return found[0] if found and found[0].folded >= folded else None

    attempt: Attempt = await eventually(check, within_s=60)
    return attempt


async def says(database: Database, query: str, value: object) -> bool:
    return await column(database, query) == [value]
