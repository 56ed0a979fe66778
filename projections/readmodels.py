"""Reading the read models: with the position that an answer speaks for, and not before it has been reached."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, NoReturn

import psycopg
import structlog
from elasticsearch import AsyncElasticsearch, NotFoundError
from psycopg import AsyncConnection, sql
from psycopg.rows import DictRow, tuple_row

from infra.elastic import index_name
from infra.health import Health
from infra.postgres import Pool, away, connect
from infra.settings import Settings
from projections import checkpoint
from projections.behind import Behind
from projections.exact import ExactReads
from projections.faults import translated
from projections.freshness import Freshness, check_topics
from projections.owner import see_own
from projections.question import REACHED_NOW, Answer, Question, Reached, missing_in, told
from projections.view import Projection
from schemas.errors import Invalid, NotFound, Problem, Unavailable

LOOK_AGAIN_S = 0.25
"""How often a waiting query looks even when nothing is told."""

LOOK_AT_ELASTIC_S = 5.0

log = structlog.get_logger()


class NotMade(Unavailable):
    """No projector has made the read models yet."""

    def __init__(self) -> None:
        super().__init__("the read models have not been made yet: start the projector with `retrace serve projector`")


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
        self._exact = ExactReads(settings, projections)
        self._behind = Behind(settings)
        self._statements: dict[Question, bytes] = {}
        self._is_ours = False
        self._look_at = 0.0

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection[DictRow]]:
        """A connection of the pool, tried beforehand: whoever gets one may ask what cannot be asked again.

        Raises:
            Unavailable: PostgreSQL is away, or the read models have not been made.
        """
        with _told():
            await self._pool.check()
            async with self._pool.connection() as connection:
                await self._see_own(connection)
                yield connection

    async def ask(self, question: Question, freshness: Freshness, **values: Any) -> Answer:
        """The answer to a question, from one state of its views that is at least as fresh as wanted.

        Raises:
            Invalid: a position is of no topic that these views are folded from, or past the end of the log.
            TimedOut: they have not come that far in time.
            Unavailable: a store is away.
        """
        if not freshness.is_live:
            return await self._exact.answer(question, freshness, values)
        if freshness.positions:
            await self.wait(freshness, *question.views)
        statement = self._statements.get(question) or self._statement(question)
        reached, *parts = await self._row(statement, values)
        return Answer(*told(reached), dict(zip(question.parts, parts, strict=True)))

    async def position(self, freshness: Freshness, *views: str) -> str:
        """What these views have at least seen, as header `x-position` has it; as fresh as wanted.

        Raises:
            Invalid, TimedOut, Unavailable: as `ask`.
        """
        await self.wait(freshness, *views)
        return (await self._reached(*views))[1]

    async def search(self, freshness: Freshness, view: str, **query: Any) -> tuple[Mapping[str, Any], str]:
        """What Elasticsearch finds in an index, and the position that it has at least seen.

        Raises:
            Invalid, TimedOut: as `ask`.
            Unavailable: Elasticsearch or PostgreSQL is away.
        """
        await self.wait(freshness, view)
        _, position = await self._reached(view)
        try:
            with translated(view):
                answer = await self.elastic.search(index=index_name(self.settings, view), **query)
        except Unavailable:
            raise
        except Exception as fault:
            if isinstance(fault.__cause__, NotFoundError):
                raise NotMade from fault
            raise
        return answer.body, position

    async def wait(self, freshness: Freshness, *views: str) -> None:
        """Return when these views have folded the wanted positions; a view that does not read a topic need not wait.

        Raises:
            Invalid, TimedOut, Unavailable: as `ask`.
        """
        if not freshness.positions:
            return
        check_topics(freshness.positions, [self.projections[view] for view in views])
        until = time.monotonic() + freshness.wait_s
        while True:
            moved = self._moved
            left = until - time.monotonic()
            reached = await self._reached_by(left, *views)
            _check_partitions(freshness, reached)
            if reached and not missing_in(freshness.positions, reached):
                return
            if left <= 0:
                raise await self._behind.problem(" and ".join(views), freshness.positions, reached, freshness.wait_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, LOOK_AGAIN_S)):
                    await moved.wait()

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

    async def look(self, health: Health) -> None:
        """Say of Elasticsearch whether it answers, until cancelled; all but the searches do without it."""
        while True:
            try:
                with translated("the search indices"):
                    await self.elastic.cluster.health()
                health.ok("elasticsearch")
            except Problem as fault:
                health.failed("elasticsearch", f"{fault.detail}; searches answer 503 meanwhile", vital=False)
            await asyncio.sleep(LOOK_AT_ELASTIC_S)

    def _statement(self, question: Question) -> bytes:
        versions = {name: self.projections[name].version for name in question.views}
        statement = self._statements[question] = question.live(versions).encode()
        return statement

    async def _reached(self, *views: str) -> tuple[Reached, str]:
        """How far the shown versions of these views have been folded, and the same as a header."""
        versions = [self.projections[view].version for view in views]
        (text,) = await self._row(REACHED_NOW, {"views": list(views), "versions": versions})
        return told(text)

    async def _reached_by(self, left_s: float, *views: str) -> Reached:
        """As `_reached`; nothing while a projector may yet make the read models, and there is time left for it."""
        try:
            return (await self._reached(*views))[0]
        except NotMade:
            if left_s <= 0:
                raise
            return {}

    async def _row(self, statement: bytes, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """The one row of a statement that only reads; asked again where the connection was a dead one."""
        with _told():
            try:
                return await self._asked(statement, values)
            except (psycopg.OperationalError, psycopg.InterfaceError):
                await self._pool.check()
                return await self._asked(statement, values)

    async def _asked(self, statement: bytes, values: Mapping[str, Any]) -> tuple[Any, ...]:
        async with self._pool.connection() as connection:
            await self._see_own(connection)
            cursor = connection.cursor(row_factory=tuple_row)
            await cursor.execute(statement, values, prepare=True)
            row = await cursor.fetchone()
        assert row is not None
        return row

    async def _see_own(self, connection: AsyncConnection[DictRow]) -> None:
        """See once that the read models are our tenant's; while they are nobody's, once a second."""
        if not self._is_ours and time.monotonic() >= self._look_at:
            self._is_ours = await see_own(connection, self.settings)
            self._look_at = time.monotonic() + 1


def missing(what: str, remedy: str, position: str) -> NoReturn:
    """Say that there is no such thing.

    Raises:
        NotFound: always.
    """
    raise NotFound(f"there is no {what} here; {remedy}", extra={"position": position})


def _check_partitions(freshness: Freshness, reached: Reached) -> None:
    topics = {topic for topic, _ in reached}  # while a view is new, not all of its topics may be here
    for one in freshness.positions:
        if one.topic in topics and (one.topic, one.partition) not in reached:
            raise Invalid(f"'{one.topic}' has no partition {one.partition}", code="unknown_partition")


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as fault:
        raise NotMade from fault
    except (psycopg.OperationalError, psycopg.InterfaceError) as fault:
        raise away(fault) from fault
