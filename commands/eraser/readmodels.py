"""Whether the read models have forgotten somebody, as their published checkpoints and lists of the erased say."""

from typing import Any

import psycopg
from psycopg import sql

from infra.postgres import Pool, away
from schemas.position import Position

CHECKPOINTS = """
    SELECT DISTINCT ON (view) view, version, next_offset FROM projection_offsets
    WHERE topic = %s AND partition = %s ORDER BY view, version DESC
"""
"""Every read model that hears of erasures reads their topic, whatever else it is made of."""


class ReadModels:
    """The read models of the installation's tenant.

    Args:
        pool: open.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def forgotten(self, user_id: str, position: Position) -> dict[str, int] | None:
        """What each of them has removed about somebody; None as long as one has not come to `position`.

        Raises:
            Unavailable: PostgreSQL is away.
        """
        try:
            async with self._pool.connection() as connection:
                rows = await (await connection.execute(CHECKPOINTS, (position.topic, position.partition))).fetchall()
                if not rows or any(row["next_offset"] <= position.offset for row in rows):
                    return None
                names = [(row["view"], f"{row['view']}_v{row['version']}_erased") for row in rows]
                found = {view: await _removed(connection, table, user_id) for view, table in names}
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            return None  # no projector has run yet
        except (psycopg.OperationalError, TimeoutError) as fault:
            raise away(fault) from fault
        return {view: removed for view, removed in found.items() if removed}


async def _removed(connection: psycopg.AsyncConnection[Any], table: str, user_id: str) -> int:
    known = await (await connection.execute("SELECT to_regclass(quote_ident(%s)) AS name", (table,))).fetchone()
    if known is None or known["name"] is None:
        return 0
    query = sql.SQL("SELECT removed FROM {} WHERE user_id = %s").format(sql.Identifier(table))
    row = await (await connection.execute(query, (user_id,))).fetchone()
    return 0 if row is None else int(row["removed"])
