"""Rebuilds as they stand in the database: the table `projection_rebuilds`, and how far each has come.

A rebuild outlives the process that works on it. Its checkpoints move in the transaction that writes the rows they stand
for, so that another process goes on exactly there. Whoever wants a running one to pause writes that into its row.

After the switch the checkpoints stay where they are: the table that was live stands where the fresh one stood at that
moment. So they tell, at any time, how far whatever stands beside the live one has been folded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from inspect import getsource
from typing import Any, Literal, TypeAlias

import orjson
import psycopg
from psycopg import AsyncConnection, sql

from projections import checkpoint
from projections.batch import Batch
from projections.compare import Comparison
from projections.view import Projection, View
from schemas.errors import Rejected

State: TypeAlias = Literal["running", "paused", "ready", "switched", "rolled_back", "retired", "failed"]
Purpose: TypeAlias = Literal["rebuild", "verify"]
Wish: TypeAlias = Literal["pause", "cancel"]

UNDER_WAY: tuple[State, ...] = ("running", "paused", "ready", "failed")
"""States of which a read model has one rebuild at most."""

DONE: tuple[State, ...] = ("switched", "rolled_back")
"""States in which the other table is kept."""

SILENT_AFTER_S = 15
"""The process of a running rebuild that has not been heard of for so long is gone."""

TABLES = """
CREATE TABLE IF NOT EXISTS projection_rebuilds (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, view text NOT NULL, version int NOT NULL,
    purpose text NOT NULL, state text NOT NULL DEFAULT 'running', wish text, declaration text NOT NULL,
    target text, counterpart text, complete bool NOT NULL DEFAULT false, switches bool NOT NULL, rate int,
    requested_by text NOT NULL, total bigint NOT NULL DEFAULT 0, events_per_s float8 NOT NULL DEFAULT 0,
    comparison jsonb, cause text NOT NULL DEFAULT '', started_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX IF NOT EXISTS projection_rebuilds_under_way ON projection_rebuilds (view)
    WHERE purpose = 'rebuild' AND state IN ('running', 'paused', 'ready', 'failed');
CREATE TABLE IF NOT EXISTS projection_rebuild_offsets (
    rebuild bigint NOT NULL REFERENCES projection_rebuilds ON DELETE CASCADE, topic text NOT NULL,
    partition int NOT NULL, next_offset bigint NOT NULL, PRIMARY KEY (rebuild, topic, partition)
);
"""

ATTEMPTS = """
    SELECT *, extract(epoch FROM now() - updated_at)::float8 AS age_s,
        (SELECT coalesce(sum(next_offset), 0)::bigint FROM projection_rebuild_offsets WHERE rebuild = id) AS folded
    FROM projection_rebuilds
"""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A rebuild, or a verification while it runs.

    Attributes:
        declaration: hash of what it is folded by.
        target: the table or index beside the live one: the fresh one before a switch, the old one after it; None when
            it has been retired.
        counterpart: the index that was live before a switch of Elasticsearch's aliases that may have been cut off.
        complete: whether the indexes that are made after the bulk load are there.
        switches: whether it switches when it is ready.
        rate: records a second that it may read; None for as many as there are.
        total: records there were to read when it was last looked.
        age_s: seconds since its process was heard of.
        folded: records read.
    """

    id: int
    view: str
    version: int
    purpose: Purpose
    state: State
    wish: Wish | None
    declaration: str
    target: str | None
    counterpart: str | None
    complete: bool
    switches: bool
    rate: int | None
    requested_by: str
    total: int
    events_per_s: float
    comparison: Comparison | None
    cause: str
    started_at: datetime
    updated_at: datetime
    age_s: float
    folded: int

    @property
    def deserted(self) -> bool:
        """Whether it runs by its row, and its process is gone."""
        return self.state == "running" and self.age_s > SILENT_AFTER_S

    @property
    def eta_s(self) -> float | None:
        """Seconds until it is folded, at the speed of late; None when nobody folds."""
        if self.state != "running" or self.deserted or not self.events_per_s:
            return None
        return max(self.total - self.folded, 0) / self.events_per_s

    def document(self) -> dict[str, Any]:
        """As JSON."""
        named = ("id", "view", "version", "purpose", "target", "rate", "requested_by", "total", "folded", "cause")
        return {
            **{name: getattr(self, name) for name in named},
            "state": "deserted" if self.deserted else self.state,
            "events_per_s": round(self.events_per_s, 1),
            "eta_s": None if self.eta_s is None else round(self.eta_s, 1),
            "comparison": None if self.comparison is None else self.comparison.document(),
            "started_at": self.started_at,
            "updated_at": self.updated_at,
        }


def fingerprint(projection: Projection) -> str:
    """Hash of what a read model is folded by: half of a table made by one statement and half by another is neither."""
    if isinstance(projection, View):
        parts = [projection.table, projection.batch, projection.apply, *projection.indexes]
    else:
        parts = [repr(projection.mapping), getsource(projection.document)]
    parts += [event.AVRO for event in projection.reads]
    return sha256("\0".join(" ".join(part.split()) for part in parts).encode()).hexdigest()


class Attempts:
    """The rebuilds of one installation.

    Args:
        connection: used by nobody else meanwhile.
    """

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self._connection = connection

    async def prepare(self) -> None:
        """Make the tables where they are missing."""
        async with self._connection.transaction():
            await self._connection.execute("SELECT pg_advisory_xact_lock(%s)", (checkpoint.SETUP_LOCK,))
            await self._connection.execute(TABLES)

    async def add(
        self, projection: Projection, purpose: Purpose, *, rate: int | None, switches: bool, requested_by: str
    ) -> Attempt:
        """Begin one.

        Raises:
            Rejected: another rebuild of it is under way.
        """
        try:
            rows = await self._connection.execute(
                """INSERT INTO projection_rebuilds (view, version, purpose, declaration, switches, rate, requested_by)
                   VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id""",
                (
                    projection.name,
                    projection.version,
                    purpose,
                    fingerprint(projection),
                    switches,
                    rate,
                    requested_by,
                ),
            )
        except psycopg.errors.UniqueViolation as fault:
            raise Rejected(
                f"a rebuild of {projection.name} is under way already: resume, switch or cancel it",
                code="rebuild_under_way",
            ) from fault
        row = await rows.fetchone()
        assert row is not None, "INSERT ... RETURNING answers a row"
        return await self.get(row["id"])

    async def get(self, id: int) -> Attempt:
        """One of them.

        Raises:
            Rejected: it has been cancelled.
        """
        rows = await self._connection.execute(ATTEMPTS + " WHERE id = %s", (id,))
        row = await rows.fetchone()
        if row is None:
            raise Rejected(f"rebuild {id} has been cancelled", code="no_rebuild")
        return _attempt(row)

    async def under_way(self, view: str) -> Attempt | None:
        """The rebuild of a read model that has not switched yet."""
        return await self._last(view, UNDER_WAY)

    async def done(self, view: str) -> Attempt | None:
        """The last rebuild of a read model whose other table is kept."""
        return await self._last(view, DONE)

    async def _last(self, view: str, states: Sequence[State]) -> Attempt | None:
        query = " WHERE view = %s AND purpose = 'rebuild' AND state = ANY(%s) ORDER BY id DESC LIMIT 1"
        row = await (await self._connection.execute(ATTEMPTS + query, (view, list(states)))).fetchone()
        return None if row is None else _attempt(row)

    async def all(self, view: str | None = None) -> list[Attempt]:
        """All that are on record, the last first; none where nothing was ever rebuilt."""
        try:
            query = ATTEMPTS + " WHERE view = coalesce(%s, view) ORDER BY id DESC"
            return [_attempt(row) async for row in await self._connection.execute(query, (view,))]
        except psycopg.errors.UndefinedTable:
            return []

    async def set(self, id: int, **columns: Any) -> None:
        """Write some columns of one."""
        assignments = sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in columns
        )
        query = sql.SQL("UPDATE projection_rebuilds SET updated_at = now(), {} WHERE id = %(_id)s")
        values = {
            n: orjson.dumps(v.document()).decode() if isinstance(v, Comparison) else v for n, v in columns.items()
        }
        await self._connection.execute(query.format(assignments), {**values, "_id": id})

    async def beat(self, id: int, events_per_s: float) -> Wish | None:
        """Tell that it is worked on, and how fast; answers what somebody wishes of it."""
        rows = await self._connection.execute(
            "UPDATE projection_rebuilds SET updated_at = now(), events_per_s = %s WHERE id = %s RETURNING wish",
            (events_per_s, id),
        )
        row = await rows.fetchone()
        return "cancel" if row is None else row["wish"]

    async def remove(self, id: int) -> None:
        """Forget one and its checkpoints."""
        await self._connection.execute("DELETE FROM projection_rebuilds WHERE id = %s", (id,))

    async def reached(self, id: int, topics: Mapping[str, Mapping[int, int]]) -> dict[str, dict[int, int]]:
        """How far it has been folded in each of these partitions; where nothing has been, 0 is put on record."""
        places = [(topic, partition) for topic, partitions in topics.items() for partition in partitions]
        await self._connection.execute(
            """INSERT INTO projection_rebuild_offsets
               SELECT %s, topic, partition, 0 FROM unnest(%s::text[], %s::int[]) AS wanted(topic, partition)
               ON CONFLICT DO NOTHING""",
            (id, [topic for topic, _ in places], [partition for _, partition in places]),
        )
        rows = await self._connection.execute(  # waits for a transaction that a killed process has left
            "SELECT * FROM projection_rebuild_offsets WHERE rebuild = %s ORDER BY topic, partition FOR UPDATE", (id,)
        )
        found: dict[str, dict[int, int]] = {}
        async for row in rows:
            found.setdefault(row["topic"], {})[row["partition"]] = row["next_offset"]
        return found

    async def advance(self, id: int, batch: Batch) -> None:
        """Move its checkpoints over a batch, within the transaction that folds it.

        Raises:
            Overtaken: they stand elsewhere, since another process works on it.
        """
        done = await self._connection.execute(
            """UPDATE projection_rebuild_offsets SET next_offset = moved.next
               FROM unnest(%s::int[], %s::bigint[], %s::bigint[]) AS moved(partition, first, next)
               WHERE rebuild = %s AND topic = %s AND projection_rebuild_offsets.partition = moved.partition
                 AND next_offset = moved.first""",
            ([*batch.ends], [batch.first[p] for p in batch.ends], [*batch.ends.values()], id, batch.topic),
        )
        if done.rowcount != len(batch.ends):
            raise checkpoint.Overtaken(f"rebuild {id} is worked on by another process")

    async def restart(self, id: int) -> None:
        """Begin again everywhere: what the checkpoints stood for is gone."""
        await self._connection.execute("DELETE FROM projection_rebuild_offsets WHERE rebuild = %s", (id,))


def _attempt(row: Mapping[str, Any]) -> Attempt:
    comparison = row["comparison"] and Comparison.of(row["comparison"])
    return Attempt(**{**row, "comparison": comparison})
