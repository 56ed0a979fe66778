"""A projector that is killed between a request and its effect: the effect comes, and comes once."""

import asyncio
import random
import sys
from typing import Any

import pytest
from psycopg import AsyncConnection

from infra.kafka.facts import FactWriter
from infra.settings import Settings, child_environment
from projections.views import user_history
from schemas.deadletters import RetryRequested, SkipRequested

from ..eventually import eventually
from .running import StartProjector
from .test_parking import append, looked

pytestmark = pytest.mark.long

Database = AsyncConnection[dict[str, Any]]
TABLE = user_history.VIEW.physical
USERS = [f"u{n}" for n in range(40)]


async def numbers(database: Database, query: str) -> list[int]:
    rows = await database.execute(query.encode())
    return [next(iter(row.values())) async for row in rows]


async def test_a_killed_projector_does_every_request_once(
    settings: Settings, database: Database, writer: FactWriter, projector: StartProjector
) -> None:
    """Kill -9 at random moments while forty keys are retried and skipped: nothing is counted twice, nothing is lost."""
    running = projector(user_history.VIEW)
    await eventually(lambda: _made(database))
    await database.execute(f"ALTER TABLE {TABLE} ADD CONSTRAINT fits CHECK (item_id <> 'bad')".encode())
    for user in USERS:
        await looked(writer, user, "a", "bad", "b")
    await eventually(lambda: _aside(database, 2 * len(USERS)))
    await running.stop()
    await database.execute(f"ALTER TABLE {TABLE} DROP CONSTRAINT fits".encode())
    for number, user in enumerate(USERS):
        asked = SkipRequested(view="user_history", key=user, reason="a test") if number % 2 else None
        await append(writer, asked or RetryRequested(view="user_history", key=user))
    chance = random.Random(5)
    for _ in range(4):
        await _killed_after(settings, chance.uniform(0, 1.5), database)
    projector(user_history.VIEW)
    await eventually(lambda: _aside(database, 0), within_s=60)
    query = f"SELECT count(*) FROM {TABLE} WHERE item_id = '{{}}'"
    taken = [(await numbers(database, query.format(item)))[0] for item in ("a", "bad", "b")]
    assert taken == [len(USERS), len(USERS) // 2, len(USERS)]


async def _killed_after(settings: Settings, seconds: float, database: Database) -> None:
    """Start a projector, and kill it so long after it has begun to work."""
    before = await numbers(database, "SELECT count(*) FROM projection_parked")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "console", "serve", "projector"),
        env=child_environment(settings),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )

    async def works() -> bool:
        return await numbers(database, "SELECT count(*) FROM projection_parked") != before or before == [0]

    try:
        await eventually(works, within_s=90)
        await asyncio.sleep(seconds / 10)
    finally:
        process.kill()
        await process.wait()


async def _made(database: Database) -> bool:
    return bool((await numbers(database, f"SELECT (to_regclass('{TABLE}') IS NOT NULL)::int"))[0])


async def _aside(database: Database, number: int) -> bool:
    return await numbers(database, "SELECT count(*) FROM projection_parked") == [number]
