"""Forgetting people in PostgreSQL: a personal view drops what it holds of somebody who was erased.

Nothing is promised about how topics interleave: an interaction may be folded long after the erasure of its user, and in
a rebuild usually is. So whom the log has erased is kept in a table of its own, and a batch is cleared of them before it
is applied. That is the same whatever comes first, because an erasure is for good.

The two sides exclude each other by locks on that table, which are held until the transaction ends: a fold reads it in
ROW SHARE mode, an erasure writes it in EXCLUSIVE mode. So an erasure sees the rows of every fold that did not know of
it, and every later fold knows of it. Who only reads the table waits for neither.
"""

from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection, sql

from projections.batch import Batch
from projections.view import View
from schemas.envelope import Recorded
from schemas.profiles import UserErased

PEOPLE, REMOVED = "erased_people", "projection_erasures"
"""Who was erased, and how many rows each read model removed; the first is published, as read models are."""

SEEN = "_seen"
"""Suffix of the table of ids, chosen by clients, that a view has counted; its key is the records' own: the person."""

TABLES = """
    CREATE TABLE IF NOT EXISTS {people} (
        user_id text PRIMARY KEY, erased_at timestamptz NOT NULL, reason text NOT NULL
    );
    CREATE TABLE IF NOT EXISTS {removed} (
        store text NOT NULL, user_id text NOT NULL, removed bigint NOT NULL, PRIMARY KEY (store, user_id)
    )
"""

DELETE = "DELETE FROM {one} WHERE {person} = ANY(%s) RETURNING {person} AS person"

OTHERS = """
    SELECT t.tablename, array_agg(c.column_name::text) AS columns
    FROM pg_tables t
    JOIN information_schema.columns c ON c.table_schema = t.schemaname AND c.table_name = t.tablename
    WHERE t.schemaname = %s AND t.tablename ~ %s AND t.tablename <> %s
    GROUP BY t.tablename
"""


class Erasing:
    """What a table of a personal view does about erasures.

    Args:
        table: the table.
        store: under which name it is said how much was removed.
    """

    def __init__(self, view: View, schema: str, table: sql.Identifier, store: str) -> None:
        assert view.personal is not None
        self._names = {
            "table": table,
            "people": sql.Identifier(schema, PEOPLE),
            "removed": sql.Identifier(schema, REMOVED),
            "person": sql.Identifier(view.personal),
        }
        self._anonymous = sql.SQL(", ").join(
            sql.SQL("{} = ").format(sql.Identifier(column)) + sql.SQL(value) for column, value in view.anonymous
        )
        self._keeps_rows = bool(view.anonymous)
        self._schema = schema
        self._store = store
        self._person = view.personal
        self._said = {column for column, _ in view.anonymous}
        is_live = store == view.physical
        self._others_are = f"^{view.name}_v[0-9]+(_[0-9a-f]{{8}})?$" if is_live else f"^{store}_[0-9a-f]{{8}}$"

    async def prepare(self, connection: AsyncConnection[Any]) -> None:
        """Make the tables where they are missing."""
        await connection.execute(self._sql(TABLES))

    async def hear(self, connection: AsyncConnection[Any], batch: Batch) -> list[str]:
        """Keep whom a batch erases, and answer who that is; to be called before anything of the batch is applied."""
        events = batch.recorded([UserErased])
        if events:
            await connection.execute(self._sql("LOCK TABLE {people} IN EXCLUSIVE MODE"))
            async with connection.cursor() as cursor:
                statement = self._sql("INSERT INTO {people} VALUES (%s, %s, %s) ON CONFLICT DO NOTHING")
                await cursor.executemany(statement, _rows(events))
        return [one.event.user_id for one in events]

    async def clear(self, connection: AsyncConnection[Any]) -> None:
        """Take the erased out of the staged batch, or what tells who they are."""
        change = (
            self._sql("UPDATE batch SET {changes} WHERE {known}", changes=self._anonymous, known=self._known)
            if self._keeps_rows
            else self._sql("DELETE FROM batch WHERE {known}", known=self._known)
        )
        await connection.execute(self._sql("LOCK TABLE {people} IN ROW SHARE MODE; ") + change)

    async def forget(self, connection: AsyncConnection[Any], people: Sequence[str]) -> None:
        """Take people out of the table, and say how many rows that were; out of those beside it, too.

        A rebuild that rests, and what is kept for going back, would come to the erasure much later, or never; so would
        an earlier version, which nobody folds any more.
        """
        counted = self._sql(
            "WITH gone AS ({change}) INSERT INTO {removed} AS r SELECT %s, person, count(*) FROM gone GROUP BY person "
            "ON CONFLICT (store, user_id) DO UPDATE SET removed = r.removed + excluded.removed",
            change=self._change(self._names["table"]),
        )
        await connection.execute(counted, (list(people), self._store))
        others = await self._others(connection)
        for name, columns in others.items():
            table = sql.Identifier(self._schema, name)
            change = self._change(table) if self._said <= columns else self._sql(DELETE, one=table)
            await connection.execute(change, (list(people),))
        for name in await self._existing(connection, [store + SEEN for store in (self._store, *others)]):
            seen = sql.Identifier(self._schema, name)
            await connection.execute(self._sql("DELETE FROM {seen} WHERE key = ANY(%s)", seen=seen), (list(people),))

    def _change(self, table: sql.Composable) -> sql.Composed:
        """Takes people out of a table."""
        text = (
            "UPDATE {one} SET {changes} WHERE {person} = ANY(%s) RETURNING old.{person} AS person"
            if self._keeps_rows
            else DELETE
        )
        return self._sql(text, one=table, changes=self._anonymous)

    async def _others(self, connection: AsyncConnection[Any]) -> dict[str, set[str]]:
        """Tables of this view that are filled beside this one or kept, of other versions too, with their columns."""
        rows = await connection.execute(OTHERS, (self._schema, self._others_are, self._store))
        found = {row["tablename"]: set(row["columns"]) async for row in rows}
        return {name: columns for name, columns in found.items() if self._person in columns}

    async def _existing(self, connection: AsyncConnection[Any], names: Sequence[str]) -> list[str]:
        rows = await connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = %s AND tablename = ANY(%s)", (self._schema, list(names))
        )
        return [row["tablename"] async for row in rows]

    async def leave(self, connection: AsyncConnection[Any]) -> None:
        """Let the table be dropped: until the transaction ends nobody is taken out of it; its counts are forgotten."""
        await connection.execute(self._sql("LOCK TABLE {people} IN ROW SHARE MODE"))
        await connection.execute(self._sql("DELETE FROM {removed} WHERE store = %s"), (self._store,))

    @property
    def _known(self) -> sql.Composed:
        """Of a row of the batch: whether it is about somebody erased. The first half costs nothing where nobody is."""
        return self._sql("EXISTS (SELECT FROM {people}) AND {person} IN (SELECT user_id FROM {people})")

    def _sql(self, text: str, **more: sql.Composable) -> sql.Composed:
        return sql.SQL(text).format(**self._names, **more)


def _rows(events: Sequence[Recorded]) -> list[tuple[Any, ...]]:
    return [(one.event.user_id, one.meta.time, one.event.reason) for one in events]
