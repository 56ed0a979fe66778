"""Bring batches into a read model: each with its checkpoint, effectively once."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from elasticsearch import AsyncElasticsearch
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from infra.postgres import connect
from infra.settings import Settings
from projections import checkpoint, parked
from projections.batch import Batch
from projections.documents import Documents
from projections.faults import translated
from projections.parked import Known, Parked
from projections.table import Table
from projections.view import Index, Projection, View


@dataclass(frozen=True)
class Start:
    """Where a fold of one topic begins.

    Attributes:
        reached: next offset of every partition.
        known: what is parked or left out.
    """

    reached: dict[int, int]
    known: Known


class Writer(Protocol):
    """What a lane needs to know of the store of its read model.

    Everything raises what `faults` says.
    """

    async def open(self, topic: str, partitions: Collection[int]) -> Start:
        """Connect anew, make what is missing, and answer where these partitions of the topic stand."""
        ...

    async def apply(self, batch: Batch, aside: Sequence[Parked] = ()) -> None:
        """Fold a batch, keep some of its events aside, and move the checkpoint."""
        ...

    async def publish(self) -> bool:
        """Show this version to the readers unless a later one is shown; whether that changed anything."""
        ...

    async def close(self) -> None:
        """Let go of the store."""
        ...


class _Connected:
    """A writer's connection to the database that holds the checkpoints."""

    def __init__(self, projection: Projection, settings: Settings) -> None:
        self._projection = projection
        self._settings = settings
        self._schema = settings.postgres.db_schema
        self._held: AsyncConnection[DictRow] | None = None
        self._epochs: Mapping[int, int] = {}

    @property
    def _connection(self) -> AsyncConnection[DictRow]:
        assert self._held is not None, "open the writer first"
        return self._held

    async def _start(self, topic: str, partitions: Collection[int]) -> Start:
        view, version = self._projection.name, self._projection.version
        await checkpoint.ensure(self._connection, view, version, topic, partitions)
        async with self._connection.transaction():
            await self._connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            found = (await checkpoint.load(self._connection, view, version)).get(topic, {})
            known = await parked.known(self._connection, view, version, topic)
        self._epochs = known.epochs
        return Start({partition: found[partition] for partition in partitions}, known)

    async def _overtakes(self, shown: int) -> bool:
        """Whether this version is to be shown in place of another: it is later, and has come as far."""
        view, version = self._projection.name, self._projection.version
        return shown < version and not await checkpoint.behind(self._connection, view, version, shown)

    async def _reconnect(self) -> None:
        await self.close()
        self._held = await connect(self._settings, f"projector {self._projection.name}")
        await checkpoint.prepare(self._held, self._schema)

    async def _forget(self) -> None:
        await checkpoint.forget(self._connection, self._projection.name, self._projection.version)

    async def _fence(self, batch: Batch) -> None:
        view, version = self._projection.name, self._projection.version
        await checkpoint.fence(self._connection, view, version, batch, self._epochs)

    async def _advance(self, batch: Batch, aside: Sequence[Parked]) -> None:
        view, version = self._projection.name, self._projection.version
        await parked.park(self._connection, view, version, aside)
        await checkpoint.advance(self._connection, self._schema, view, version, batch)

    async def close(self) -> None:
        """Let go of the connection."""
        if self._held is not None:
            await self._held.close()


class TableWriter(_Connected):
    """Writes to the table of a view, checkpoint and rows in one transaction."""

    def __init__(self, view: View, settings: Settings) -> None:
        super().__init__(view, settings)
        self._table = Table(view, self._schema)

    async def open(self, topic: str, partitions: Collection[int]) -> Start:
        """See `Writer`."""
        with translated(self._projection.name):
            await self._reconnect()
            # A commit that a crash of the server undoes takes its checkpoint along: waiting for the disk buys nothing.
            await self._connection.execute("SET synchronous_commit = off")
            async with self._connection.transaction():
                if await self._table.create(self._connection):
                    await self._forget()
            await self._table.stage_in(self._connection)
            if await self._table.published_version(self._connection) is None:
                await self._table.publish(self._connection)
            return await self._start(topic, partitions)

    async def apply(self, batch: Batch, aside: Sequence[Parked] = ()) -> None:
        """See `Writer`."""
        with translated(self._projection.name):
            async with self._connection.transaction():
                await self._fence(batch)
                await self._table.fold(self._connection, batch)
                await self._advance(batch, aside)

    async def publish(self) -> bool:
        """See `Writer`."""
        with translated(self._projection.name):
            shown = await self._table.published_version(self._connection)
            if shown is not None and not await self._overtakes(shown):
                return False
            await self._table.publish(self._connection)
            return True


class DocumentWriter(_Connected):
    """Writes to an index; the checkpoint moves after Elasticsearch has confirmed, and repeats do no harm."""

    def __init__(self, index: Index, settings: Settings, client: AsyncElasticsearch) -> None:
        super().__init__(index, settings)
        self._documents = Documents(index, settings, client)

    async def open(self, topic: str, partitions: Collection[int]) -> Start:
        """See `Writer`."""
        with translated(self._projection.name):
            await self._reconnect()
            if not await self._documents.exists():
                await self._forget()
                await self._documents.create()
            if not await self._documents.targets(self._documents.published):
                await self._show()
            return await self._start(topic, partitions)

    async def apply(self, batch: Batch, aside: Sequence[Parked] = ()) -> None:
        """See `Writer`."""
        with translated(self._projection.name):
            async with self._connection.transaction():
                await self._fence(batch)
                await self._documents.fold(batch)
                await self._advance(batch, aside)

    async def publish(self) -> bool:
        """See `Writer`."""
        with translated(self._projection.name):
            shown = await self._documents.targets(self._documents.published)
            if shown and not await self._overtakes(max(map(_version, shown))):
                return False
            await self._show()
            return True

    async def _show(self) -> None:
        await self._documents.point(self._documents.published, await self._documents.live())


def _version(physical: str) -> int:
    """Version in the name of a physical index, `<name>_v<version>_<generation>`."""
    return int(physical.rsplit("_v", 1)[1].split("_")[0])


def make_writer(projection: Projection, settings: Settings, client: AsyncElasticsearch) -> Any:
    """The writer for the store of a projection."""
    if isinstance(projection, View):
        return TableWriter(projection, settings)
    return DocumentWriter(projection, settings, client)
