"""Reading the read models: with the position that an answer speaks for, and not before it has been reached."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

import psycopg
import structlog
from elasticsearch import AsyncElasticsearch, NotFoundError
from psycopg import AsyncConnection, sql
from psycopg.rows import DictRow

from infra.elastic import index_name
from infra.health import Health
from infra.postgres import Pool, away, connect
from infra.settings import Settings
from projections import checkpoint
from projections.faults import translated
from projections.view import Projection, topics_of
from schemas.errors import Invalid, NotFound, TimedOut, Unavailable
from schemas.position import Position
from schemas.topics import TOPICS

Reached: TypeAlias = Mapping[tuple[str, int], int]
"""Next offset by topic and partition; of several views, the one that is furthest behind."""

LOOK_AGAIN_S = 0.25
"""How often a waiting query looks even when nothing is told."""

NOT_MADE = "the read models have not been made yet: start the projector with `retrace serve projector`"

log = structlog.get_logger()


@dataclass(frozen=True)
class Freshness:
    """What a query insists on.

    Attributes:
        positions: must have been folded before the query is answered.
        wait_s: how long it may wait for that.
    """

    positions: tuple[Position, ...] = ()
    wait_s: float = 2.0


class Snapshot:
    """One consistent state of PostgreSQL's read models.

    Attributes:
        position: what it has seen, as header `x-position` has it.
    """

    def __init__(self, connection: AsyncConnection[DictRow], reached: Reached) -> None:
        self._connection = connection
        self.position = position_header(reached)

    async def rows(self, query: str, *values: Any) -> list[DictRow]:
        """All rows of a query."""
        cursor = await self._connection.execute(query, values)
        return await cursor.fetchall()

    async def row(self, query: str, *values: Any) -> DictRow | None:
        """The first row of a query."""
        rows = await self.rows(query, *values)
        return rows[0] if rows else None

    def missing(self, what: str, remedy: str) -> NoReturn:
        """Say that there is no such thing.

        Raises:
            NotFound: always.
        """
        raise NotFound(f"there is no {what} here; {remedy}", extra={"position": self.position})


class ReadModels:
    """The read models of PostgreSQL and Elasticsearch, for those who only read.

    Args:
        pool: open.
        projections: every declared projection, by name.
    """

    def __init__(
        self, settings: Settings, pool: Pool, elastic: AsyncElasticsearch, projections: Mapping[str, Projection]
    ) -> None:
        self.settings = settings
        self.projections = projections
        self.elastic = elastic
        self._pool = pool
        self._moved = asyncio.Event()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection[DictRow]]:
        """A connection of the pool.

        Raises:
            Unavailable: PostgreSQL is away, or the read models have not been made.
        """
        with _told():
            async with self._pool.connection() as connection:
                yield connection

    @asynccontextmanager
    async def snapshot(self, freshness: Freshness, *views: str) -> AsyncIterator[Snapshot]:
        """One state of these views that is at least as fresh as wanted.

        Raises:
            Invalid: a position is of no topic that these views are folded from.
            TimedOut: they have not come that far in time.
            Unavailable: PostgreSQL is away.
        """
        await self.wait(freshness, *views)
        async with self.connection() as connection, connection.transaction():
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield Snapshot(connection, await self._reached(connection, views))

    async def search(self, freshness: Freshness, view: str, **query: Any) -> tuple[Mapping[str, Any], str]:
        """What Elasticsearch finds in an index, and the position that it has at least seen.

        Raises:
            Invalid, TimedOut: as `snapshot`.
            Unavailable: Elasticsearch or PostgreSQL is away.
        """
        await self.wait(freshness, view)
        async with self.connection() as connection:
            reached = await self._reached(connection, [view])
        try:
            with translated(view):
                answer = await self.elastic.search(index=index_name(self.settings, view), **query)
        except Unavailable:
            raise
        except Exception as fault:
            if isinstance(fault.__cause__, NotFoundError):
                raise Unavailable(NOT_MADE) from fault
            raise
        return answer.body, position_header(reached)

    async def wait(self, freshness: Freshness, *views: str) -> None:
        """Return when these views have folded the wanted positions; a view that does not read a topic need not wait.

        Raises:
            Invalid, TimedOut, Unavailable: as `snapshot`.
        """
        if not freshness.positions:
            return
        self._check(freshness.positions, views)
        until = time.monotonic() + freshness.wait_s
        while True:
            moved = self._moved
            async with self.connection() as connection:
                reached = await self._reached(connection, views)
            behind = _behind(freshness.positions, reached)
            left = until - time.monotonic()
            if not behind:
                return
            if left <= 0:
                raise TimedOut(
                    f"{' and '.join(views)} not at the position you asked for within {freshness.wait_s:g} s: "
                    f"it is {', '.join(behind)}; ask again, or wait longer with `wait` (at most 30)",
                    code="position_not_reached",
                    extra={"position": position_header(reached)},
                )
            with suppress(TimeoutError):
                await asyncio.wait_for(moved.wait(), min(left, LOOK_AGAIN_S))

    async def listen(self, health: Health) -> None:
        """Hear from the database whenever a checkpoint moves, until cancelled."""
        while True:
            try:
                with translated("checkpoints"):
                    async with await connect(self.settings, "queries listener") as connection:
                        name = checkpoint.channel(self.settings.postgres.db_schema)
                        await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(name)))
                        health.ok("postgres")
                        async for _ in connection.notifies():
                            self._moved.set()
                            self._moved = asyncio.Event()
            except Unavailable as fault:
                health.failed("postgres", fault.detail)
            await asyncio.sleep(1)

    def _check(self, positions: Sequence[Position], views: Sequence[str]) -> None:
        read = {topic for view in views for topic in topics_of(self.projections[view])}
        for position in positions:
            if position.topic not in TOPICS:
                raise Invalid(
                    f"there is no topic '{position.topic}'; give positions as answers gave them", code="unknown_topic"
                )
            if position.topic not in read:
                detail = f"{' and '.join(views)} is folded from {', '.join(sorted(read))}, not from '{position.topic}'"
                raise Invalid(f"{detail}; ask without that position", code="position_of_another_topic")

    async def _reached(self, connection: AsyncConnection[Any], views: Sequence[str]) -> dict[tuple[str, int], int]:
        """Checkpoints of the versions that are shown."""
        versions = [self.projections[view].version for view in views]
        rows = await connection.execute(
            """SELECT topic, partition, min(next_offset) AS next_offset FROM projection_offsets o
               JOIN unnest(%s::text[], %s::int[]) AS wanted(view, version) ON o.view = wanted.view
                    AND o.version = coalesce(obj_description(to_regclass(wanted.view), 'pg_class')::int, wanted.version)
               GROUP BY topic, partition ORDER BY topic, partition""",
            (list(views), versions),
        )
        return {(row["topic"], row["partition"]): row["next_offset"] async for row in rows}


def position_header(reached: Reached) -> str:
    """The last positions that have been folded, with commas between."""
    return ",".join(str(Position(topic, p, offset - 1)) for (topic, p), offset in reached.items() if offset > 0)


def _behind(positions: Sequence[Position], reached: Reached) -> list[str]:
    """What is missing to each position that has not been folded.

    Raises:
        Invalid: the topic has no such partition.
    """
    found = []
    for position in positions:
        at = (position.topic, position.partition)
        if reached and at not in reached:
            raise Invalid(f"'{position.topic}' has no partition {position.partition}", code="unknown_partition")
        missing = position.offset + 1 - reached.get(at, 0)
        if missing > 0:
            found.append(f"{missing} records behind {position}")
    return found


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as fault:
        raise Unavailable(NOT_MADE) from fault
    except (psycopg.OperationalError, psycopg.InterfaceError) as fault:
        raise away(fault) from fault
