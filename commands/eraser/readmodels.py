"""Whether the read models have forgotten somebody, as their published checkpoints and lists of the erased say."""

import psycopg

from infra.postgres import Pool, away
from schemas.position import Position

CHECKPOINTS = """
    SELECT DISTINCT ON (view) view, version, next_offset FROM projection_offsets
    WHERE topic = %s AND partition = %s ORDER BY view, version DESC
"""
"""Every read model that hears of erasures reads their topic, whatever else it is made of."""

REMOVED = "SELECT store, removed FROM projection_erasures WHERE store = ANY(%s) AND user_id = %s AND removed > 0"


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
                names = {f"{row['view']}_v{row['version']}": row["view"] for row in rows}
                removed = await (await connection.execute(REMOVED, (list(names), user_id))).fetchall()
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            return None  # no projector has run yet
        except (psycopg.OperationalError, TimeoutError) as fault:
            raise away(fault) from fault
        return {names[row["store"]]: row["removed"] for row in removed}
