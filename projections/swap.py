"""Two tables of a view change places, and no query notices.

A query may take its snapshot before the exchange and look up the table after it. It would then see the fresh table as
that was at its snapshot, which is behind what its checkpoints say. So the exchange waits, while the checkpoints are
held, until every snapshot has ended that is older than the last row of the fresh table; `CREATE INDEX CONCURRENTLY`
waits for the same reason.

The locks are taken in the order in which queries take them, each for a moment only: who has to wait for a long query is
the exchange, and not the queries behind it.
"""

import asyncio
from datetime import datetime
from typing import Any

import psycopg
from psycopg import AsyncConnection, sql

from projections.erasure import SEEN
from projections.table import Table
from schemas.errors import Unavailable

PATIENCE_S = 10.0
"""How long queries are waited for; the live read model stands still meanwhile."""

LOCK_MS = 250
"""How long queries may have to wait behind one attempt to lock; less than PostgreSQL takes to look for deadlocks."""

LOOK_EVERY_S = 0.02

SNAPSHOTS = """
    SELECT pid, xact_start FROM pg_stat_activity
    WHERE datname = current_database() AND backend_xmin IS NOT NULL AND pid <> ALL(%s)
      AND application_name NOT LIKE 'retrace rebuild%%' AND NOT pg_blocking_pids(pid) && %s::int[]
"""
"""Transactions that hold a snapshot. Those that wait for our own lock are projectors, which take another one then."""


class StillRead(Unavailable):
    """Somebody has been reading a read model for so long that it cannot be switched."""

    code = "still_read"


async def exchange(holder: AsyncConnection[Any], other: AsyncConnection[Any], live: Table, beside: Table) -> None:
    """Let two tables of a view change names and readers, in the transaction of `holder`.

    Args:
        holder: its transaction holds the checkpoints of the live table.
        other: in no transaction.

    Raises:
        StillRead: a transaction has been open for too long.
    """
    until = asyncio.get_running_loop().time() + PATIENCE_S
    await _outlive_snapshots(holder, other, until)
    while True:
        try:
            async with holder.transaction():
                await holder.execute(f"SET LOCAL lock_timeout = {LOCK_MS}")
                await _exchange(holder, live, beside)
                return
        except psycopg.errors.LockNotAvailable as fault:
            if asyncio.get_running_loop().time() > until:
                raise StillRead(
                    f"{live.view.name} has been read by somebody for {PATIENCE_S:.0f} s without a pause: "
                    "switch again when that has ended"
                ) from fault
            await asyncio.sleep(LOCK_MS / 1000)


async def _exchange(connection: AsyncConnection[Any], live: Table, beside: Table) -> None:
    shown = await live.published_version(connection) == live.view.version
    if shown:
        view = sql.Identifier(live.schema, live.view.name)
        await connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(view))
    between = beside.name + "_"
    for suffix in ("", SEEN) if live.view.deduplicate else ("",):
        for one, name in ((live.name, between), (beside.name, live.name), (between, beside.name)):
            await _rename(connection, live.schema, one + suffix, name + suffix)
    if shown:
        await live.publish(connection)


async def _rename(connection: AsyncConnection[Any], schema: str, table: str, name: str) -> None:
    query = sql.SQL("ALTER TABLE {} RENAME TO {}").format(sql.Identifier(schema, table), sql.Identifier(name))
    await connection.execute(query)


async def _outlive_snapshots(holder: AsyncConnection[Any], other: AsyncConnection[Any], until: float) -> None:
    """Wait until every snapshot that is there now has ended."""
    waited_for = await _snapshots(holder, other)
    while waited_for:
        if asyncio.get_running_loop().time() > until:
            pid, since = min(waited_for, key=lambda one: one[1])
            raise StillRead(
                f"the database session {pid} has had a transaction open since {since:%H:%M:%S} UTC: "
                "switch again when it has ended"
            )
        await asyncio.sleep(LOOK_EVERY_S)
        waited_for &= await _snapshots(holder, other)


async def _snapshots(holder: AsyncConnection[Any], other: AsyncConnection[Any]) -> set[tuple[int, datetime]]:
    ours = [holder.info.backend_pid, other.info.backend_pid]
    return {(row["pid"], row["xact_start"]) async for row in await other.execute(SNAPSHOTS, (ours, ours[:1]))}
