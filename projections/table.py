"""The tables of views in PostgreSQL: how they are made, and how a batch comes into them."""

import asyncio
from hashlib import sha256
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import AsyncConnection, AsyncCursor, sql

from projections import checkpoint
from projections.batch import Batch, Staged
from projections.erasure import SEEN, Erasing
from projections.faults import Broken
from projections.staging import columns
from projections.view import View

MANY = 1_000
"""Events from which on they are made ready beside the event loop."""


class Table:
    """One physical table of a view; the live one, or one that is filled beside it.

    Args:
        name: of the table; the view's own when it is None.
    """

    def __init__(self, view: View, schema: str, name: str | None = None) -> None:
        self.view = view
        self.schema = schema
        self.name = name or view.physical
        self._apply = self.statement(view.apply)
        self._erasing = Erasing(view, schema, self.identifier, self.name) if view.personal is not None else None
        names = [sql.Identifier(column.name) for column in columns(view)]
        self._copy = sql.SQL("COPY batch ({}) FROM STDIN").format(sql.SQL(", ").join(names))
        self._copy_lines = self._copy + sql.SQL(" (FORMAT csv)")

    @property
    def identifier(self) -> sql.Identifier:
        """Its name, ready for SQL."""
        return sql.Identifier(self.schema, self.name)

    @property
    def seen(self) -> sql.Identifier:
        """The table of ids that have been counted."""
        return sql.Identifier(self.schema, self.name + SEEN)

    def statement(self, text: str) -> sql.Composed:
        """SQL of a declaration, with `{table}` filled in; other braces stay."""
        parts = [sql.SQL(part) for part in text.split("{table}")]
        return sql.Composed([sql.SQL("") + parts[0], *(self.identifier + part for part in parts[1:])])

    async def create(self, connection: AsyncConnection[Any], *, indexed: bool = True) -> bool:
        """Make the table, its indexes and its table of ids where they are missing; whether they were.

        Args:
            indexed: whether the indexes are made as well; `index` makes them later, faster once the table is full.

        Raises:
            Broken: the table that is there was made from other columns.
        """
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (checkpoint.SETUP_LOCK,))
            await self.prepare_erasures(connection)
            if (mark := await self._mark(connection)) is not None:
                self._check(mark)
                if indexed:
                    await self.index(connection)  # one may have been declared since
                return False
            await self.make(connection)
            if indexed:
                await self.index(connection)
            comment = sql.SQL("COMMENT ON TABLE {} IS {}").format(self.identifier, sql.Literal(self._declared))
            await connection.execute(comment)
            return True

    async def make(self, connection: AsyncConnection[Any]) -> None:
        """Make the table, without indexes, and its table of ids; neither may be there."""
        await connection.execute(self.statement(f"CREATE TABLE {{table}} ({self.view.table})"))
        if self.view.deduplicate:
            await connection.execute(
                sql.SQL("CREATE TABLE {} (key text, event_id uuid, PRIMARY KEY (key, event_id))").format(self.seen)
            )

    async def prepare_erasures(self, connection: AsyncConnection[Any]) -> None:
        """Make where it is kept who was erased, if that matters here and it is missing."""
        if self._erasing is not None:
            await self._erasing.prepare(connection)

    async def index(self, connection: AsyncConnection[Any]) -> None:
        """Make the indexes that are no constraints, where they are missing."""
        there = await self._indexes(connection)
        for index in self.view.indexes:
            mark = sha256(index.encode()).hexdigest()
            if mark not in there:  # told by its mark, because tables are renamed and their indexes are not
                name = f"retrace_{uuid4().hex}"
                await connection.execute(self.statement(f"CREATE INDEX {name} ON {{table}} {index}"))
                comment = sql.SQL("COMMENT ON INDEX {} IS {}")
                await connection.execute(comment.format(sql.Identifier(self.schema, name), sql.Literal(mark)))

    async def _indexes(self, connection: AsyncConnection[Any]) -> set[str]:
        """Marks of the indexes that are there."""
        rows = await connection.execute(
            "SELECT obj_description(indexrelid, 'pg_class') AS mark FROM pg_index WHERE indrelid = %s::regclass",
            (self.identifier.as_string(connection),),
        )
        return {str(row["mark"]) for row in await rows.fetchall()}

    async def analyze(self, connection: AsyncConnection[Any]) -> None:
        """Let the planner know what is in it, as it would before long."""
        await connection.execute(self.statement("ANALYZE {table}"))

    @property
    def _declared(self) -> str:
        """Mark of the columns, kept as the table's comment."""
        return sha256(" ".join(self.view.table.split()).encode()).hexdigest()

    async def _mark(self, connection: AsyncConnection[Any]) -> str | None:
        """Mark of the table that is there; None when there is none."""
        rows = await connection.execute(
            """SELECT coalesce(obj_description(c.oid, 'pg_class'), '') AS mark FROM pg_class c
               JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = %s AND c.relname = %s AND c.relkind = 'r'""",
            (self.schema, self.name),
        )
        row = await rows.fetchone()
        return None if row is None else str(row["mark"])

    def _check(self, mark: str) -> None:
        if mark != self._declared:
            raise Broken(
                f"the table of {self.view.name} was made from other columns than version {self.view.version} declares: "
                "give the changed declaration the next version"
            )

    async def drop(self, connection: AsyncConnection[Any]) -> None:
        """Remove it and its table of ids."""
        async with connection.transaction():
            if self._erasing is not None:
                await self._erasing.prepare(connection)
                await self._erasing.leave(connection)
            await connection.execute(sql.SQL("DROP TABLE IF EXISTS {}, {}").format(self.identifier, self.seen))

    async def publish(self, connection: AsyncConnection[Any]) -> None:
        """Let the SQL view of the view's name show this table."""
        name = sql.Identifier(self.schema, self.view.name)
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (checkpoint.SETUP_LOCK,))
            query = sql.SQL("VIEW {} AS ").format(name) + self.statement(self.view.published)
            try:
                async with connection.transaction():
                    await connection.execute(sql.SQL("CREATE OR REPLACE ") + query)
            except psycopg.errors.InvalidTableDefinition:  # other columns than the version before
                await connection.execute(sql.SQL("DROP VIEW {}").format(name))
                await connection.execute(sql.SQL("CREATE ") + query)
            version = sql.Literal(str(self.view.version))
            await connection.execute(sql.SQL("COMMENT ON VIEW {} IS {}").format(name, version))

    async def published_version(self, connection: AsyncConnection[Any]) -> int | None:
        """Version that the SQL view shows; None when there is no view."""
        rows = await connection.execute(
            """SELECT obj_description(c.oid, 'pg_class') AS version FROM pg_class c JOIN pg_namespace n
               ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s AND c.relkind = 'v'""",
            (self.schema, self.view.name),
        )
        row = await rows.fetchone()
        return None if row is None else int(row["version"])

    async def stage_in(self, connection: AsyncConnection[Any]) -> None:
        """Make the temporary table `batch` that this connection stages batches in."""
        declared = sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(column.type)) for column in columns(self.view)
        )
        await connection.execute(
            sql.SQL("CREATE TEMPORARY TABLE IF NOT EXISTS batch ({}) ON COMMIT DELETE ROWS").format(declared)
        )

    async def fold(self, connection: AsyncConnection[Any], batch: Batch) -> None:
        """Bring a batch into the table, within the transaction of the caller. Call `stage_in` once before."""
        erased = await self._erasing.hear(connection, batch) if self._erasing is not None else []
        staged = await self._staged(batch)
        if not staged.empty:
            await self._apply_staged(connection, staged)
        if self._erasing is not None and erased:
            await self._erasing.forget(connection, erased)

    async def _apply_staged(self, connection: AsyncConnection[Any], staged: Staged) -> None:
        async with connection.cursor() as cursor:
            await self._copy_in(cursor, staged)
        if self._erasing is not None:
            await self._erasing.clear(connection)
        if self.view.deduplicate and staged.repeats:
            await connection.execute(self._forget_repeats())
        await connection.execute(self._apply)

    async def _staged(self, batch: Batch) -> Staged:
        if len(batch) < MANY:
            return batch.held.staged(self.view)
        return await asyncio.to_thread(batch.held.staged, self.view)

    async def _copy_in(self, cursor: AsyncCursor[Any], staged: Staged) -> None:
        if staged.rows:
            async with cursor.copy(self._copy) as copy:
                for row in staged.rows:
                    await copy.write_row(row)
        for lines in staged.lines:
            async with cursor.copy(self._copy_lines) as copy:
                await copy.write(lines)

    def _forget_repeats(self) -> sql.Composed:
        """Take out of the batch what was counted before, and all but the first of what is in it more than once."""
        return sql.SQL("""
            WITH chosen AS (
                SELECT key, event_id, min("offset") AS "offset" FROM batch
                WHERE uuid_extract_version(event_id) = 5 GROUP BY key, event_id
            ), fresh AS (
                INSERT INTO {seen} (key, event_id) SELECT key, event_id FROM chosen ORDER BY key, event_id
                ON CONFLICT DO NOTHING RETURNING key, event_id
            )
            DELETE FROM batch USING chosen
            WHERE batch.key = chosen.key AND batch.event_id = chosen.event_id
                AND (batch."offset" > chosen."offset" OR (batch.key, batch.event_id) NOT IN (SELECT * FROM fresh))
        """).format(seen=self.seen)
