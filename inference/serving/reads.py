"""What serving reads of the read models: one statement each, so that rows and checkpoints are of one snapshot."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, LiteralString, Self

import psycopg
from psycopg.rows import tuple_row
from psycopg_pool import PoolTimeout

from inference.counting.near import Row
from inference.inputs import HISTORY_ROWS, SILENT_KINDS, Item, Profile
from infra.kafka.partitioner import partition_of
from infra.postgres import away, make_pool
from infra.settings import Settings
from schemas.decisions import AsOf
from schemas.errors import Unavailable

CHECKPOINTS: LiteralString = """
(SELECT json_agg(json_build_array(view, topic, partition, next_offset))
   FROM (SELECT DISTINCT ON (view, topic, partition) view, topic, partition, next_offset FROM projection_offsets
          WHERE {} AND version = coalesce(obj_description(to_regclass(view), 'pg_class')::int, version)
          ORDER BY view, topic, partition, version DESC) AS shown)
"""
"""Checkpoints of the version that each view shows; a newer one that is still being filled stands elsewhere."""

USER: LiteralString = """
SELECT ARRAY(SELECT item_id FROM user_history WHERE user_id = %(user)s AND kind <> ALL(%(silent)s)
             ORDER BY occurred_at DESC, "offset" DESC LIMIT %(rows)s),
       (SELECT json_build_array(to_json(hidden_categories), personalisation, training, to_json(favourite_categories))
          FROM user_profile WHERE user_id = %(user)s),
       EXISTS (SELECT FROM erased_people WHERE user_id = %(user)s),
""" + CHECKPOINTS.format("partition = %(partition)s AND view IN ('user_history', 'user_profile')")

CATALOGUE: LiteralString = """
SELECT (SELECT json_agg(json_build_array(item_id, title, to_json(categories), retired)) FROM catalogue),
""" + CHECKPOINTS.format("view = 'catalogue'")

POPULARITY: LiteralString = """
SELECT (SELECT json_object_agg(item_id, interactions) FROM popularity),
""" + CHECKPOINTS.format("view = 'popularity'")

LIVE: LiteralString = """
SELECT (SELECT json_agg(json_build_array(model, version, artifact_sha256, deployment_id)) FROM live_models),
""" + CHECKPOINTS.format("view = 'live_models'")

MARKS: LiteralString = "SELECT " + CHECKPOINTS.format(
    "view IN ('catalogue', 'popularity', 'live_models', 'user_profile')"
)

ERASED: LiteralString = """
SELECT ARRAY(SELECT user_id FROM erased_people),
""" + CHECKPOINTS.format("view = 'user_profile'")

REFUSING: LiteralString = """
SELECT ARRAY(SELECT user_id FROM user_profile WHERE user_id = ANY(%(users)s) AND NOT personalisation)
"""

FOLLOWERS: LiteralString = """
SELECT (SELECT json_agg(json_build_array(item_id, total, to_json(others), to_json(counts)))
          FROM co_occurrence WHERE item_id = ANY(%(items)s)),
       (SELECT json_agg(json_build_array('co_occurrence', topic, partition, next_offset) ORDER BY topic, partition)
          FROM co_occurrence_offsets)
"""

NOBODY = Profile()


@dataclass(frozen=True, slots=True)
class User:
    """A user as the read models knew them at one moment.

    Attributes:
        history: item ids, oldest first; empty without consent to personalisation.
        profile: what the user allows and refuses.
        registered: whether there is a profile.
        positions: how far history and profile had been folded; empty when they could not be read.
        erased: whether the user has been erased.
    """

    history: tuple[str, ...] = ()
    profile: Profile = NOBODY
    registered: bool = False
    positions: tuple[AsOf, ...] = ()
    erased: bool = False


@dataclass(frozen=True, slots=True)
class Erased:
    """Who has been erased."""

    people: frozenset[str]
    positions: tuple[AsOf, ...]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The facts about items that bear on answers."""

    items: Mapping[str, Item]
    titles: Mapping[str, str]
    positions: tuple[AsOf, ...]


@dataclass(frozen=True, slots=True)
class Popularity:
    """How often each item was met."""

    counts: Mapping[str, int]
    positions: tuple[AsOf, ...]


@dataclass(frozen=True, slots=True)
class Followers:
    """What follows items of a history, as the counts are kept live."""

    rows: Mapping[str, Row]
    positions: tuple[AsOf, ...]


@dataclass(frozen=True, slots=True)
class Live:
    """A version that serves."""

    model: str
    version: int
    artifact_sha256: str
    deployment_id: str


@dataclass(frozen=True, slots=True)
class LiveModels:
    """What serves, by model."""

    versions: Mapping[str, Live]
    positions: tuple[AsOf, ...]


class ReadModels:
    """The read models in PostgreSQL; use it as an async context manager.

    It opens whether PostgreSQL answers or not, and connects again by itself. Every method raises Unavailable when it
    does not answer in time.
    """

    def __init__(self, settings: Settings) -> None:
        self._pool = make_pool(settings, "serving")
        self._pool.reconnect_timeout = 2.0
        self._timeout_s = settings.recommend.store_timeout_ms / 1000
        self._partitions = settings.kafka.partitions

    async def __aenter__(self) -> Self:
        await self._pool.open(wait=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.close(timeout=1)

    async def user(self, user_id: str) -> User:
        """History and profile of one user; of somebody nobody has heard of, the defaults."""
        values = {
            "user": user_id,
            "silent": list(SILENT_KINDS),
            "rows": HISTORY_ROWS,
            "partition": partition_of(user_id, self._partitions),
        }
        newest_first, row, erased, marks = await self._read(USER, values, self._timeout_s)
        hidden, personalisation, training, favourite = row or ((), True, True, ())
        profile = Profile(frozenset(hidden or ()), personalisation, training, frozenset(favourite or ()))
        history = tuple(reversed(newest_first)) if profile.personalisation else ()
        return User(history, profile, row is not None, positions(marks), erased)

    async def erased(self) -> Erased:
        """Everybody who has been erased."""
        people, marks = await self._read(ERASED)
        return Erased(frozenset(people), positions(marks))

    async def refusing(self, users: Collection[str]) -> set[str]:
        """Those of these users who do not consent to personalisation."""
        (found,) = await self._read(REFUSING, {"users": list(users)})
        return set(found)

    async def catalogue(self) -> Catalogue:
        """Every item."""
        rows, marks = await self._read(CATALOGUE)
        items = {item_id: Item(frozenset(categories or ()), retired) for item_id, _, categories, retired in rows or ()}
        return Catalogue(items, {row[0]: row[1] for row in rows or ()}, positions(marks))

    async def popularity(self) -> Popularity:
        """Every item that was met."""
        counts, marks = await self._read(POPULARITY)
        return Popularity(counts or {}, positions(marks))

    async def followers(self, items: Sequence[str]) -> Followers:
        """What follows these items; no rows while nobody counts."""
        rows, marks = await self._read(FOLLOWERS, {"items": list(items)}, self._timeout_s)
        found = {
            item: Row(total, tuple(zip(others, counts, strict=True))) for item, total, others, counts in rows or ()
        }
        return Followers(found, positions(marks))

    async def live(self) -> LiveModels:
        """Every model that serves."""
        rows, marks = await self._read(LIVE)
        return LiveModels({row[0]: Live(*row) for row in rows or ()}, positions(marks))

    async def marks(self) -> dict[str, tuple[AsOf, ...]]:
        """How far the views that are kept in memory have been folded, by view."""
        (marks,) = await self._read(MARKS)
        found: dict[str, list[AsOf]] = {}
        for position in positions(marks):
            found.setdefault(position.view, []).append(position)
        return {view: tuple(group) for view, group in found.items()}

    async def _read(
        self, statement: LiteralString, values: Mapping[str, Any] | None = None, timeout_s: float = 5
    ) -> Sequence[Any]:
        """The one row of a statement. A read that hangs is left behind rather than waited for."""
        task = asyncio.create_task(self._row(statement, values))
        done, _ = await asyncio.wait({task}, timeout=timeout_s)
        if not done:
            task.cancel()
            task.add_done_callback(_ignore)
            raise Unavailable(f"PostgreSQL did not answer within {timeout_s:g} s", code="store_timeout")
        return task.result()

    async def _row(self, statement: LiteralString, values: Mapping[str, Any] | None) -> Sequence[Any]:
        try:
            return await self._try(statement, values)
        except psycopg.OperationalError:
            await self._pool.check()  # the connections of before a restart
        try:
            return await self._try(statement, values)
        except (psycopg.Error, PoolTimeout) as fault:
            raise _unavailable(fault) from fault

    async def _try(self, statement: LiteralString, values: Mapping[str, Any] | None) -> Sequence[Any]:
        try:
            async with self._pool.connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
                row = await (await cursor.execute(statement, values)).fetchone()
        except (psycopg.ProgrammingError, PoolTimeout) as fault:
            raise _unavailable(fault) from fault
        assert row is not None
        return row


def positions(marks: Sequence[Sequence[Any]] | None) -> tuple[AsOf, ...]:
    """Checkpoints as a decision records them."""
    return tuple(
        AsOf(view=view, topic=topic, partition=partition, next_offset=offset)
        for view, topic, partition, offset in marks or ()
    )


def _unavailable(fault: psycopg.Error) -> Unavailable:
    if isinstance(fault, psycopg.errors.UndefinedTable):
        return Unavailable(
            f"a read model is missing: {str(fault).splitlines()[0]}; start the projector", code="no_read_model"
        )
    return away(fault)


def _ignore(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled():
        task.exception()
