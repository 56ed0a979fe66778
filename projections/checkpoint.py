"""How far each read model has been folded: the table `projection_offsets`, and the fence around it.

A checkpoint is written in the transaction that writes what it stands for, under a lock on its row and only where it
stands as the writer believes. So two runners of one view take turns, and one that is overtaken notices before it
writes.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from psycopg import AsyncConnection, sql

from projections import parked
from projections.batch import Batch
from schemas.errors import Conflict

TABLES = """
CREATE TABLE IF NOT EXISTS projection_offsets (
    view text NOT NULL, version int NOT NULL, topic text NOT NULL, partition int NOT NULL, next_offset bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(), parking int NOT NULL DEFAULT 0,
    PRIMARY KEY (view, version, topic, partition)
);
CREATE TABLE IF NOT EXISTS projection_workers (
    view text NOT NULL, version int NOT NULL, worker text NOT NULL, state text NOT NULL, cause text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (view, version, worker)
);
DROP TABLE IF EXISTS projection_states;
"""
"""`projection_offsets.parking`: how often somebody else than the fold has changed what is parked (`parked`).
`projection_workers`: whether a view is running, waiting or stopped, as each of its workers last said, and why."""

SETUP_LOCK = 7_382_715_001
"""Key of the advisory lock that whoever makes tables holds."""


class Overtaken(Conflict):
    """Another runner has moved the checkpoint: read it again and go on from there."""

    code = "checkpoint_moved"


def channel(schema: str) -> str:
    """Channel on which every move of a checkpoint is told; the payload is the view's name."""
    return f"{schema}_projections"


async def prepare(connection: AsyncConnection[Any], schema: str) -> None:
    """Make the schema and the tables of checkpoints where they are missing."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (SETUP_LOCK,))
        await connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
        await connection.execute(TABLES)
        await parked.prepare(connection)


async def ensure(
    connection: AsyncConnection[Any], view: str, version: int, topic: str, partitions: Iterable[int]
) -> None:
    """Begin at 0 where there is no checkpoint yet."""
    await connection.execute(
        """INSERT INTO projection_offsets (view, version, topic, partition, next_offset)
           SELECT %s, %s, %s, partition, 0 FROM unnest(%s::int[]) AS partition ON CONFLICT DO NOTHING""",
        (view, version, topic, list(partitions)),
    )


async def forget(connection: AsyncConnection[Any], view: str, version: int) -> None:
    """Begin again everywhere: what the checkpoints stood for is gone."""
    await connection.execute("DELETE FROM projection_offsets WHERE view = %s AND version = %s", (view, version))
    await parked.forget(connection, view, version)


async def load(connection: AsyncConnection[Any], view: str, version: int) -> dict[str, dict[int, int]]:
    """Next offset by topic and partition."""
    rows = await connection.execute(
        "SELECT topic, partition, next_offset FROM projection_offsets WHERE view = %s AND version = %s", (view, version)
    )
    found: dict[str, dict[int, int]] = {}
    async for row in rows:
        found.setdefault(row["topic"], {})[row["partition"]] = row["next_offset"]
    return found


async def behind(connection: AsyncConnection[Any], view: str, version: int, other: int) -> bool:
    """Whether a version has yet to come to where another one is, in any partition."""
    rows = await connection.execute(
        """SELECT 1 FROM projection_offsets shown LEFT JOIN projection_offsets mine
               ON mine.view = shown.view AND mine.version = %s AND mine.topic = shown.topic
                   AND mine.partition = shown.partition
           WHERE shown.view = %s AND shown.version = %s AND shown.next_offset > coalesce(mine.next_offset, 0)
           LIMIT 1""",
        (version, view, other),
    )
    return await rows.fetchone() is not None


async def lock_all(connection: AsyncConnection[Any], view: str, version: int) -> dict[str, dict[int, int]]:
    """As `load`, and nobody moves them until the transaction ends."""
    await connection.execute(
        """SELECT 1 FROM projection_offsets WHERE view = %s AND version = %s
           ORDER BY topic, partition FOR UPDATE""",
        (view, version),
    )
    return await load(connection, view, version)


async def fence(
    connection: AsyncConnection[Any], view: str, version: int, batch: Batch, epochs: Mapping[int, int]
) -> None:
    """Lock the checkpoints that `batch` begins at, until the transaction ends.

    Args:
        epochs: how often somebody else had changed what is parked when the fold last looked, by partition.

    Raises:
        Overtaken: one stands elsewhere, or something else is parked than the fold knows.
    """
    rows = await connection.execute(
        """SELECT partition, next_offset, parking FROM projection_offsets
           WHERE view = %s AND version = %s AND topic = %s AND partition = ANY(%s) ORDER BY partition FOR UPDATE""",
        (view, version, batch.topic, list(batch.ends)),
    )
    found = {row["partition"]: (row["next_offset"], row["parking"]) async for row in rows}
    believed = {partition: (first, epochs.get(partition, 0)) for partition, first in batch.first.items()}
    if found != believed:
        raise Overtaken(f"the checkpoints of {view} on {batch.topic} stand at {found}, not at {believed}")


async def advance(connection: AsyncConnection[Any], schema: str, view: str, version: int, batch: Batch) -> None:
    """Move the checkpoints to where `batch` ends, and tell those who wait."""
    ends: Mapping[int, int] = batch.ends
    await connection.execute(
        """UPDATE projection_offsets SET next_offset = moved.next, updated_at = now()
           FROM unnest(%s::int[], %s::bigint[]) AS moved(partition, next)
           WHERE view = %s AND version = %s AND topic = %s AND projection_offsets.partition = moved.partition""",
        (list(ends), list(ends.values()), view, version, batch.topic),
    )
    await connection.execute("SELECT pg_notify(%s, %s)", (channel(schema), view))
