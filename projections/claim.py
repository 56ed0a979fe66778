"""Who works on the rebuilds of a read model: one process at a time, and no longer than it lives."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from infra.postgres import connect
from infra.settings import Settings
from projections import checkpoint, handover
from projections.attempt import Attempt, Attempts, State, Wish
from projections.beside import switched_already
from projections.view import Projection
from schemas.errors import Rejected, TimedOut

STOPS_WITHIN_S = 60
"""How long the process of a rebuild may take to see that it is to stop."""


async def opened(settings: Settings) -> AsyncConnection[DictRow]:
    """A connection to a database that has the tables of rebuilds.

    Raises:
        Unavailable: PostgreSQL does not answer.
    """
    connection = await connect(settings, "rebuild")
    try:
        await checkpoint.prepare(connection, settings.postgres.db_schema)
        await Attempts(connection).prepare()
    except BaseException:
        await connection.close()
        raise
    return connection


@asynccontextmanager
async def alone(settings: Settings, projection: Projection) -> AsyncIterator[AsyncConnection[DictRow]]:
    """A connection whose holder alone works on rebuilds of a read model.

    Raises:
        Rejected: somebody else does.
    """
    async with await opened(settings) as connection:
        rows = await connection.execute(f"SELECT pg_try_advisory_lock({LOCK}) AS mine", (projection.name,))
        row = await rows.fetchone()
        if row is None or not row["mine"]:
            raise Rejected(f"{projection.name} is being rebuilt or verified by another process", code="rebuild_running")
        await _settle(settings, projection, connection)
        yield connection


LOCK = "hashtext(%s), hashtext(current_schema())"
"""Key of the advisory lock of a read model; it ends with the process that holds it."""


@asynccontextmanager
async def stopped(
    settings: Settings, projection: Projection, connection: AsyncConnection[DictRow], attempt: Attempt, wish: Wish
) -> AsyncIterator[None]:
    """Wait until the process of a rebuild has stopped; nobody begins to work on it meanwhile."""
    await Attempts(connection).set(attempt.id, wish=wish)
    await connection.execute(f"SET lock_timeout = '{STOPS_WITHIN_S}s'")
    try:
        await connection.execute(f"SELECT pg_advisory_lock({LOCK})", (projection.name,))
    except psycopg.errors.LockNotAvailable as fault:
        raise TimedOut(f"the process that rebuilds {projection.name} has not stopped in {STOPS_WITHIN_S} s") from fault
    await _settle(settings, projection, connection)
    yield


async def _settle(settings: Settings, projection: Projection, connection: AsyncConnection[DictRow]) -> None:
    """Put on record what a process did that was killed before it could."""
    attempts = Attempts(connection)
    for attempt in await attempts.all(projection.name):
        if attempt.counterpart is not None and await switched_already(settings, projection, attempt):
            state: State = "rolled_back" if attempt.state == "switched" else "switched"
            async with connection.transaction():
                await checkpoint.lock_all(connection, projection.name, projection.version)
                kept = {"beside": str(attempt.target), "kept": attempt.counterpart}
                await handover.exchange(connection, projection.name, projection.version, **kept)
                await attempts.set(attempt.id, state=state, target=attempt.counterpart, counterpart=None)
