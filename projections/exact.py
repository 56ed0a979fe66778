"""Answers from the log itself: as it is now, or as it was at a position or a time.

There is no second fold. The view's own table is made as a temporary one in a session of its own, the events are brought
into it by the view's own statement, and the same query that reads the live table is asked of it. So what an exact
answer says is what a read model says that has been folded so far and no further.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from psycopg import AsyncConnection, sql
from psycopg.rows import tuple_row

from infra.kafka.moment import ranges_at, ranges_up_to
from infra.kafka.partitioner import partition_of
from infra.kafka.ranges import ranges_now
from infra.kafka.records import Decoder
from infra.kafka.replay import recorded
from infra.personal.files import erased
from infra.postgres import connect
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from projections.behind import past_end
from projections.few import batch_of
from projections.freshness import Freshness, check_topics
from projections.question import Answer, Question, missing_in, position_header
from projections.table import Table
from projections.view import Projection, View, topics_of
from schemas.envelope import Recorded
from schemas.errors import Invalid, Problem
from schemas.models import OffsetRange
from schemas.position import Position
from schemas.profiles import UserErased

AT_ONCE = 2
"""Exact answers made at the same time: each reads a partition of the log from its start."""

TEMPORARY = "pg_temp"
"""Schema of a session's own tables; names are looked for there first."""

ERASURES = "profiles"
"""Topic that says who was erased."""

Events = Mapping[str, Sequence[Recorded]]


class ExactReads:
    """Answers questions from the log.

    Args:
        projections: every declared projection, by name.
    """

    def __init__(self, settings: Settings, projections: Mapping[str, Projection]) -> None:
        self._settings = settings
        self._projections = projections
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._decoder: Decoder | None = None

    async def answer(self, question: Question, freshness: Freshness, values: Mapping[str, Any]) -> Answer:
        """What the read models of `question` would say, had they been folded exactly so far.

        Raises:
            Invalid: a position is of another topic or partition, or not in the log; a time has not come yet.
            Gone: it is about a person who has been erased since.
            Incompatible: an event on the way cannot be read; the message names its position.
            Unavailable: Kafka, the registry or PostgreSQL does not answer.
        """
        views = [self._view(name) for name in question.views]
        key = None if question.key is None else str(values[question.key])
        topics = sorted({topic for view in views for topic in topics_of(view)})
        async with self._slots:
            ranges = _of_key(key, await self._ranges(freshness, views, topics, key))
            events = await self._events(ranges, None if key is None else [key])
            if key is not None and any(view.personal is not None for view in views):
                await self._see_not_erased(topics, key)
            parts = await self._asked(question, views, events, values)
        reached = {(part.topic, part.partition): part.end for part in ranges}
        if freshness.exact and (beyond := missing_in(freshness.positions, reached)):
            position = next(iter(beyond))
            raise past_end(position, reached.get((position.topic, position.partition), 0))
        return Answer(reached, position_header(reached), dict(zip(question.parts, parts, strict=True)))

    def _view(self, name: str) -> View:
        view = self._projections[name]
        assert isinstance(view, View), "only tables are answered from the log"
        return view

    async def _ranges(
        self, freshness: Freshness, views: Iterable[View], topics: Sequence[str], key: str | None
    ) -> list[OffsetRange]:
        match freshness.as_of:
            case None:
                check_topics(freshness.positions, views)
                return await ranges_now(self._settings, topics)
            case tuple(positions):
                check_topics(positions, views)
                return await self._up_to(topics, positions, key)
            case moment:
                return await ranges_at(self._settings, topics, moment)

    async def _up_to(self, topics: Sequence[str], positions: Sequence[Position], key: str | None) -> list[OffsetRange]:
        try:
            ranges = await ranges_up_to(self._settings, topics, positions)
        except Problem as problem:
            raise _about_position(problem) from problem
        if key is not None:
            counts = _partitions(ranges)
            for position in positions:
                if (there := partition_of(key, counts[position.topic])) != position.partition:
                    raise Invalid(
                        f"'{key}' stands in {position.topic}/{there}: {position} says nothing of it; "
                        "give a position of that partition",
                        code="position_of_another_partition",
                    )
        return ranges

    async def _events(self, ranges: Sequence[OffsetRange], keys: Collection[str] | None) -> Events:
        if self._decoder is None:
            self._decoder = await open_decoder(self._settings)
        found: dict[str, list[Recorded]] = {part.topic: [] for part in ranges}
        whole = [OffsetRange(topic=part.topic, partition=part.partition, first=0, end=part.end) for part in ranges]
        async for event in recorded(self._settings, self._decoder, whole, keys=keys):
            found[event.position.topic].append(event)
        return found

    async def _see_not_erased(self, topics: Sequence[str], person: str) -> None:
        """Whoever is erased is erased in every past.

        Raises:
            Gone: the log has erased this person, be it after the moment that was asked for.
        """
        ranges = await ranges_now(self._settings, [topic for topic in topics if topic == ERASURES])
        for events in (await self._events(_of_key(person, ranges), [person])).values():
            if any(isinstance(one.event, UserErased) for one in events):
                raise erased(person)

    async def _asked(
        self, question: Question, views: Sequence[View], events: Events, values: Mapping[str, Any]
    ) -> Sequence[str | None]:
        async with (
            await connect(self._settings, "queries, exact") as connection,
            connection.transaction(force_rollback=True),
        ):
            for view in views:
                await folded(connection, view, events)
            cursor = connection.cursor(row_factory=tuple_row)
            await cursor.execute(f"SELECT {question.still}".encode(), values)
            row: Sequence[str | None] = await cursor.fetchone() or ()
            return row


async def folded(connection: AsyncConnection[Any], view: View, events: Events) -> None:
    """Let the name of `view` mean, in this session, a table that these events alone have been folded into."""
    table = Table(view, TEMPORARY)
    await connection.execute("DROP TABLE IF EXISTS pg_temp.batch")
    await table.stage_in(connection)
    await table.prepare_erasures(connection)
    await table.make(connection)
    for topic in topics_of(view):
        if found := events.get(topic):
            await table.fold(connection, batch_of(topic, found, ()))
            await connection.execute("DELETE FROM pg_temp.batch")
    name = sql.Identifier(view.name)
    await connection.execute(sql.SQL("CREATE TEMPORARY VIEW {} AS ").format(name) + table.statement(view.published))


def _of_key(key: str | None, ranges: Sequence[OffsetRange]) -> list[OffsetRange]:
    """The partitions that hold the events of a key; all for None."""
    if key is None:
        return list(ranges)
    counts = _partitions(ranges)
    return [part for part in ranges if part.partition == partition_of(key, counts[part.topic])]


def _partitions(ranges: Iterable[OffsetRange]) -> dict[str, int]:
    """How many partitions each topic has."""
    counts: dict[str, int] = {}
    for part in ranges:
        counts[part.topic] = counts.get(part.topic, 0) + 1
    return counts


def _about_position(problem: Problem) -> Problem:
    """The same problem in the words of whoever gave a position."""
    codes = {"range_past_end": "position_past_end", "range_before_start": "position_before_start"}
    if problem.code not in codes:
        return problem
    return Invalid(f"as-of: {problem.detail}; give a position as answers gave it", code=codes[problem.code])
