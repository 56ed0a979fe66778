"""The live counts in PostgreSQL: a row for each item, and how far the log has been folded, changed together."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, LiteralString

from psycopg import AsyncConnection, errors, sql

from inference.counting.near import Row

VIEW = "co_occurrence"
"""As decisions record it; a change of what is counted takes another name."""

TABLES: LiteralString = """
    CREATE TABLE IF NOT EXISTS co_occurrence (
        item_id text PRIMARY KEY, total bigint NOT NULL, others text[] NOT NULL, counts bigint[] NOT NULL
    );
    CREATE TABLE IF NOT EXISTS co_occurrence_offsets (
        topic text, partition int, next_offset bigint NOT NULL, updated_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (topic, partition)
    )
"""

PUT: LiteralString = """
    INSERT INTO co_occurrence (item_id, total, others, counts) VALUES (%s, %s, %s, %s)
    ON CONFLICT (item_id) DO UPDATE SET total = excluded.total, others = excluded.others, counts = excluded.counts
"""

REACHED: LiteralString = """
    INSERT INTO co_occurrence_offsets (topic, partition, next_offset) VALUES (%s, %s, %s)
    ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset, updated_at = now()
"""

OWN: LiteralString = "SELECT pg_try_advisory_lock(hashtextextended(current_schema() || '.co_occurrence', 0)) AS mine"

Place = tuple[str, int]
"""Topic and partition."""


class Table:
    """Writes the counts.

    Args:
        connection: of the one who owns the counts; whoever loses it has to begin again.
    """

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self._connection = connection

    async def claim(self, schema: str) -> bool:
        """Make the tables where they are missing, and be their only writer; False while somebody else is."""
        with suppress(errors.UniqueViolation):  # somebody else makes it at this moment
            await self._connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
        row = await (await self._connection.execute(OWN)).fetchone()
        if row is None or not row["mine"]:
            return False
        await self._connection.execute(TABLES)
        return True

    async def write(self, rows: Iterable[tuple[str, Row]], reached: Mapping[Place, int], *, anew: bool = False) -> None:
        """Bring rows and positions up to date in one transaction.

        Args:
            rows: that have changed.
            reached: first offset of each partition that is not yet counted.
            anew: whether everything else is dropped.
        """
        changed = list(rows)
        empty = [item for item, row in changed if not row.total]
        async with self._connection.transaction(), self._connection.cursor() as cursor:
            if anew:
                await cursor.execute("DELETE FROM co_occurrence")
                await cursor.execute("DELETE FROM co_occurrence_offsets")
            if empty:
                await cursor.execute("DELETE FROM co_occurrence WHERE item_id = ANY(%s)", (empty,))
            await cursor.executemany(PUT, [_values(item, row) for item, row in changed if row.total])
            await cursor.executemany(REACHED, [(*place, offset) for place, offset in sorted(reached.items())])


def _values(item: str, row: Row) -> tuple[str, int, list[str], list[int]]:
    return item, row.total, [other for other, _ in row.others], [count for _, count in row.others]
