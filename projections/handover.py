"""What a rebuild has parked takes the place of what the live fold has; and what is left to do when it has."""

from typing import Any

from psycopg import AsyncConnection

from projections.parked import Known, Parked, known, parked_of, place_of, skipped
from schemas.position import Position


async def known_beside(connection: AsyncConnection[Any], view: str, version: int, beside: str, topic: str) -> Known:
    """What a rebuild has to know of one topic: what it has parked itself, and what is left out of the view."""
    own = await known(connection, beside, version, topic)
    return Known(own.keys, await skipped(connection, view, topic), {})


async def exchange(connection: AsyncConnection[Any], view: str, version: int, beside: str, kept: str) -> None:
    """What a rebuild has parked takes the place of what the live fold has, whose lanes look again.

    Args:
        connection: in a transaction that holds the checkpoints.
        beside: name of the table or index that becomes the live one.
        kept: name that the other one has from now on.
    """
    between = f"{beside} and {kept}"
    for one, other in ((view, between), (beside, view), (between, kept)):
        await connection.execute(
            "UPDATE projection_parked SET view = %s WHERE view = %s AND version = %s", (other, one, version)
        )
    await connection.execute(
        "UPDATE projection_offsets SET parking = parking + 1 WHERE view = %s AND version = %s", (view, version)
    )


async def untold(connection: AsyncConnection[Any], view: str, version: int) -> list[Parked]:
    """Poison events that are not among the dead letters yet."""
    rows = await connection.execute(
        "SELECT * FROM projection_parked WHERE view = %s AND version = %s AND role = 'poison' AND NOT told LIMIT 1000",
        (view, version),
    )
    return [parked_of(row) async for row in rows]


async def tell(connection: AsyncConnection[Any], view: str, version: int, position: Position) -> None:
    """It is among the dead letters."""
    await connection.execute(
        """UPDATE projection_parked SET told = true
           WHERE view = %s AND version = %s AND topic = %s AND partition = %s AND "offset" = %s""",
        (view, version, *place_of(position)),
    )


async def left_out(connection: AsyncConnection[Any], view: str, version: int) -> list[Position]:
    """Poison events that hold up their keys though the view leaves them out, as after going back to an older fold."""
    rows = await connection.execute(
        """SELECT topic, partition, "offset" FROM projection_parked JOIN projection_skipped
               USING (view, topic, partition, "offset")
           WHERE view = %s AND version = %s AND role = 'poison'""",
        (view, version),
    )
    return [Position(row["topic"], row["partition"], row["offset"]) async for row in rows]


async def untidy(connection: AsyncConnection[Any]) -> list[tuple[str, int]]:
    """Views and versions that an exchange has left poison of which nobody was told, or which is left out."""
    rows = await connection.execute(
        """SELECT DISTINCT p.view, p.version FROM projection_parked p LEFT JOIN projection_skipped s
               USING (view, topic, partition, "offset")
           WHERE p.role = 'poison' AND (NOT p.told OR s.view IS NOT NULL)"""
    )
    return [(row["view"], row["version"]) async for row in rows]
