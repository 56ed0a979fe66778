"""What is filled beside a live read model, and how the two change places.

`TableBeside` is a table of PostgreSQL, `IndexBeside` an index of Elasticsearch. Before a switch it is the fresh one,
afterwards the one that was live: a switch is an exchange, and going back is the same exchange again.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol
from uuid import uuid4

import psycopg
from elasticsearch import AsyncElasticsearch
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from infra.elastic import index_name, make_elastic
from infra.postgres import connect
from infra.settings import Settings
from projections import checkpoint, handover, parked
from projections.attempt import Attempt, Attempts
from projections.batch import Batch
from projections.compare import Comparison, DocumentsOfIndex, RowsOfTable, compared
from projections.documents import REFRESH_INTERVAL, Documents
from projections.parked import Known, Parked
from projections.swap import exchange
from projections.table import Table
from projections.view import Index, Projection, View, topics_of

Positions = Mapping[str, Mapping[int, int]]


@dataclass(frozen=True)
class Moment:
    """A live read model as it stood once, however much is written to it meanwhile.

    Attributes:
        reached: checkpoints of that moment.
        compare: compares it with the fresh one, which has to be folded up to there first.
    """

    reached: Positions
    compare: Callable[[], Awaitable[Comparison]]


class Beside(Protocol):
    """What stands beside a live read model."""

    async def open(self) -> None:
        """Make it, or find it again; where it is gone, the rebuild begins again."""
        ...

    async def known(self, topic: str) -> Known:
        """What of a topic it keeps aside or leaves out."""
        ...

    async def fold(self, batch: Batch, aside: Sequence[Parked] = ()) -> None:
        """Bring a batch into it, keep some of its events aside, and move the rebuild's checkpoint."""
        ...

    async def complete(self) -> None:
        """Make what is better made after the bulk load."""
        ...

    async def moment(self, stack: AsyncExitStack) -> Moment:
        """The live one as it is now; let go of when the stack ends."""
        ...

    async def swap(self, connection: AsyncConnection[DictRow]) -> str:
        """Change places with the live one; answers the name of what stands beside now.

        Args:
            connection: in a transaction that holds the checkpoints of the live one.

        Raises:
            Unavailable: somebody has been reading it for too long.
        """
        ...

    async def discard(self) -> None:
        """Remove it."""
        ...


@asynccontextmanager
async def open_beside(settings: Settings, projection: Projection, attempt: Attempt) -> AsyncIterator[Beside]:
    """What stands beside the live one of a rebuild.

    Raises:
        Unavailable: a store is away.
    """
    async with await connect(settings, "rebuild fold") as connection, make_elastic(settings) as client:
        assert attempt.target is not None, "it has not been retired"
        if isinstance(projection, View):
            yield TableBeside(projection, settings, connection, attempt)
        else:
            yield IndexBeside(projection, settings, client, connection, attempt)


def new_target(projection: Projection, settings: Settings) -> str:
    """Name of a table or index that nothing else has."""
    name = f"{projection.physical}_{uuid4().hex[:8]}"
    return name if isinstance(projection, View) else index_name(settings, name)


class TableBeside:
    """A table beside the live one of a view.

    Args:
        connection: used by this fold alone.
    """

    def __init__(self, view: View, settings: Settings, connection: AsyncConnection[DictRow], attempt: Attempt) -> None:
        schema = settings.postgres.db_schema
        self._settings = settings
        self._live = Table(view, schema)
        self._table = Table(view, schema, attempt.target)
        self._connection = connection
        self._attempts = Attempts(connection)
        self._attempt = attempt

    async def open(self) -> None:
        """See `Beside`."""
        # A crash of the server takes rows and checkpoint along: waiting for the disk buys nothing.
        await self._connection.execute("SET synchronous_commit = off")
        await self._connection.execute("SET maintenance_work_mem = '256MB'")
        async with self._connection.transaction():
            if await self._table.create(self._connection, indexed=False):
                await self._attempts.restart(self._attempt.id)
                await parked.forget(self._connection, self._table.name, self._table.view.version)
                await self._attempts.set(self._attempt.id, complete=False)
        await self._table.stage_in(self._connection)

    async def known(self, topic: str) -> Known:
        """See `Beside`."""
        view = self._table.view
        return await handover.known_beside(self._connection, view.name, view.version, self._table.name, topic)

    async def fold(self, batch: Batch, aside: Sequence[Parked] = ()) -> None:
        """See `Beside`."""
        async with self._connection.transaction():
            await self._table.fold(self._connection, batch)
            await parked.park(self._connection, self._table.name, self._table.view.version, aside, told=False)
            await self._attempts.advance(self._attempt.id, batch)

    async def complete(self) -> None:
        """See `Beside`."""
        if (await self._attempts.get(self._attempt.id)).complete:
            return
        async with self._connection.transaction():
            await self._table.index(self._connection)
            await self._attempts.set(self._attempt.id, complete=True)
        await self._table.analyze(self._connection)

    async def moment(self, stack: AsyncExitStack) -> Moment:
        """See `Beside`."""
        frozen = await stack.enter_async_context(await connect(self._settings, "rebuild compare"))
        await frozen.set_read_only(True)
        await frozen.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        await stack.enter_async_context(frozen.transaction())
        view = self._live.view
        reached = await checkpoint.load(frozen, view.name, view.version)  # the snapshot is taken here

        async def compare() -> Comparison:
            live, fresh = RowsOfTable(frozen, self._live), RowsOfTable(self._connection, self._table)
            return await compared(view.name, live, fresh)

        return Moment(reached, compare)

    async def swap(self, connection: AsyncConnection[DictRow]) -> str:
        """See `Beside`."""
        await exchange(connection, self._connection, self._live, self._table)
        view = self._table.view
        await handover.exchange(connection, view.name, view.version, self._table.name, self._table.name)
        return self._table.name

    async def discard(self) -> None:
        """See `Beside`."""
        await self._table.drop(self._connection)
        await parked.forget(self._connection, self._table.name, self._table.view.version)


class IndexBeside:
    """An index beside the live one.

    Args:
        connection: to the checkpoints; used by this fold alone.
    """

    def __init__(
        self,
        index: Index,
        settings: Settings,
        client: AsyncElasticsearch,
        connection: AsyncConnection[DictRow],
        attempt: Attempt,
    ) -> None:
        self._settings = settings
        self._live = Documents(index, settings, client)
        self._index = Documents(index, settings, client, attempt.target, refresh=False)
        self._client = client
        self._connection = connection
        self._attempts = Attempts(connection)
        self._attempt = attempt

    async def open(self) -> None:
        """See `Beside`."""
        if not await self._client.indices.exists(index=self._index.name):
            await self._attempts.restart(self._attempt.id)
            await parked.forget(self._connection, self._index.name, self._index.index.version)
            await self._index.create(self._index.name)
        if not (await self._attempts.get(self._attempt.id)).complete:
            await self._refresh_every("-1")  # nobody searches it

    async def known(self, topic: str) -> Known:
        """See `Beside`."""
        index = self._index.index
        return await handover.known_beside(self._connection, index.name, index.version, self._index.name, topic)

    async def fold(self, batch: Batch, aside: Sequence[Parked] = ()) -> None:
        """See `Beside`."""
        async with self._connection.transaction():
            await self._index.fold(batch)
            await parked.park(self._connection, self._index.name, self._index.index.version, aside, told=False)
            await self._attempts.advance(self._attempt.id, batch)

    async def complete(self) -> None:
        """See `Beside`."""
        await self._refresh_every(REFRESH_INTERVAL)
        await self._attempts.set(self._attempt.id, complete=True)

    async def _refresh_every(self, interval: str) -> None:
        await self._client.indices.put_settings(index=self._index.name, settings={"refresh_interval": interval})

    async def moment(self, stack: AsyncExitStack) -> Moment:
        """See `Beside`."""
        index = self._live.index
        async with await connect(self._settings, "rebuild compare") as connection, connection.transaction():
            reached = await checkpoint.lock_all(connection, index.name, index.version)
            live = await DocumentsOfIndex.now(self._client, self._live.alias, versions=len(topics_of(index)) == 1)
        stack.push_async_callback(live.close)

        async def compare() -> Comparison:
            fresh = await DocumentsOfIndex.now(self._client, self._index.name, versions=len(topics_of(index)) == 1)
            stack.push_async_callback(fresh.close)
            return await compared(index.name, live, fresh)

        return Moment(reached, compare)

    async def swap(self, connection: AsyncConnection[DictRow]) -> str:
        """See `Beside`."""
        await self._client.indices.refresh(index=self._index.name)
        old = await self._live.live()
        # Aliases and database do not change in one transaction: what is about to happen is written down before.
        await self._attempts.set(self._attempt.id, counterpart=old)
        await self._live.give_way(self._index.name)
        index = self._index.index
        await handover.exchange(connection, index.name, index.version, self._index.name, old)
        return old

    async def discard(self) -> None:
        """See `Beside`."""
        if self._index.name not in await self._live.targets(self._live.alias):
            await self._client.indices.delete(index=self._index.name, ignore_unavailable=True)
            await parked.forget(self._connection, self._index.name, self._index.index.version)


async def switched_already(settings: Settings, projection: Projection, attempt: Attempt) -> bool:
    """Whether aliases were switched by a process that could not write it down any more."""
    if isinstance(projection, View) or attempt.counterpart is None:
        return False
    async with make_elastic(settings) as client:
        live = Documents(projection, settings, client)
        return attempt.target in await live.targets(live.alias)
