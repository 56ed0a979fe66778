"""How far what is asked of dead letters has been done: the table `projection_requests`.

A request is done once, in the order of its partition, by whichever projector comes first: each step holds the row.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from psycopg import AsyncConnection

from projections.request import Request, Sums


async def ensure(connection: AsyncConnection[Any], view: str, version: int, first: Mapping[int, int]) -> None:
    """Say where a read model that has not been asked anything begins.

    Where an earlier version of it stands, else at `first`: what was asked before means nothing to what is parked now.
    """
    await connection.execute(
        """INSERT INTO projection_requests (view, version, partition, next_offset)
           SELECT %(view)s, %(version)s, partition, coalesce((SELECT max(next_offset) FROM projection_requests earlier
               WHERE earlier.view = %(view)s AND earlier.partition = first.partition), first.next_offset)
           FROM unnest(%(partitions)s::int[], %(offsets)s::bigint[]) AS first(partition, next_offset)
           ON CONFLICT DO NOTHING""",
        {"view": view, "version": version, "partitions": list(first), "offsets": list(first.values())},
    )


async def reached(connection: AsyncConnection[Any]) -> dict[tuple[str, int], dict[int, int]]:
    """By view and version, the next offset of every partition."""
    found: dict[tuple[str, int], dict[int, int]] = {}
    async for row in await connection.execute("SELECT view, version, partition, next_offset FROM projection_requests"):
        found.setdefault((row["view"], row["version"]), {})[row["partition"]] = row["next_offset"]
    return found


async def advance(connection: AsyncConnection[Any], views: Iterable[tuple[str, int]], ends: Mapping[int, int]) -> None:
    """Nothing before these offsets is left to do for these views and versions."""
    names, versions = (list(column) for column in zip(*views, strict=True))
    await connection.execute(
        """UPDATE projection_requests SET next_offset = moved.next_offset
           FROM unnest(%s::text[], %s::int[]) AS mine(view, version),
                unnest(%s::int[], %s::bigint[]) AS moved(partition, next_offset)
           WHERE projection_requests.view = mine.view AND projection_requests.version = mine.version
             AND projection_requests.partition = moved.partition
             AND projection_requests.next_offset < moved.next_offset""",
        (names, versions, list(ends), list(ends.values())),
    )


async def claim(connection: AsyncConnection[Any], view: str, version: int, request: Request) -> bool:
    """Hold the row until the transaction ends; whether the request has yet to be done."""
    rows = await connection.execute(
        """SELECT next_offset FROM projection_requests WHERE view = %s AND version = %s AND partition = %s
           FOR UPDATE""",
        (view, version, request.position.partition),
    )
    row = await rows.fetchone()
    return row is not None and row["next_offset"] <= request.position.offset


async def add(connection: AsyncConnection[Any], view: str, version: int, request: Request, sums: Sums) -> None:
    """Count what a step of a request has led to."""
    await connection.execute(
        """UPDATE projection_requests SET request_id = %(id)s,
               recovered = %(recovered)s + CASE WHEN request_id = %(id)s THEN recovered ELSE 0 END,
               failed = %(failed)s + CASE WHEN request_id = %(id)s THEN failed ELSE 0 END,
               skipped = %(skipped)s + CASE WHEN request_id = %(id)s THEN skipped ELSE 0 END,
               released = %(released)s + CASE WHEN request_id = %(id)s THEN released ELSE 0 END
           WHERE view = %(view)s AND version = %(version)s AND partition = %(partition)s""",
        {"id": request.id, "view": view, "version": version, "partition": request.position.partition, **asdict(sums)},
    )


async def sums(connection: AsyncConnection[Any], view: str, version: int, request: Request) -> Sums:
    """What a request has led to so far."""
    rows = await connection.execute(
        """SELECT recovered, failed, skipped, released FROM projection_requests
           WHERE view = %s AND version = %s AND partition = %s AND request_id = %s""",
        (view, version, request.position.partition, request.id),
    )
    row = await rows.fetchone()
    return Sums() if row is None else Sums(**row)


async def done(connection: AsyncConnection[Any], view: str, version: int, request: Request) -> None:
    """A request has been done."""
    await connection.execute(
        """UPDATE projection_requests SET next_offset = %s
           WHERE view = %s AND version = %s AND partition = %s""",
        (request.position.offset + 1, view, version, request.position.partition),
    )
