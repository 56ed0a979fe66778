"""Folding a read model again from the first record, beside the live one; then comparing, then switching.

The live read model goes on being read and written. Only for the last step its checkpoints are held: the fresh fold is
brought to exactly where the live one stands, the two are compared, and, for a rebuild, change places in one step.
Nothing outside is touched: no dead letter is written twice.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from infra.elastic import make_elastic
from infra.kafka.records import Decoder, Raw
from infra.postgres import connect
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from projections import checkpoint
from projections.batch import Batch
from projections.compare import Comparison, compare_indices, compare_tables
from projections.documents import Documents
from projections.faults import Unfit, translated
from projections.reader import Reader, open_reader
from projections.table import Table
from projections.view import Index, Projection, View
from schemas.errors import Rejected, Unavailable

Progress = Callable[[int, int], None]
"""Called with the records folded so far and the records there are to fold."""

PATIENCE = 20
"""Empty reads, of a second each, after which Kafka is held to be away."""


@dataclass(frozen=True)
class Silent:
    """Dead letters of a fold that the live read model has been through: they have been written."""

    async def write(self, reader: str, raw: Raw, fault: BaseException) -> None:
        """Write nothing."""


class Fresh(Protocol):
    """A read model that is filled beside the live one."""

    async def begin(self) -> None:
        """Make it, empty; what an attempt before left is removed."""
        ...

    async def fold(self, batch: Batch) -> None:
        """Bring a batch into it."""
        ...

    async def compare(self) -> Comparison:
        """Compare it with the live one."""
        ...

    async def switch(self, connection: AsyncConnection[DictRow]) -> None:
        """Put it in the live one's place, in the transaction of `connection` where the store has one."""
        ...

    async def discard(self) -> None:
        """Remove it if it is not the live one."""
        ...


async def rebuild(settings: Settings, projection: Projection, progress: Progress = lambda *_: None) -> Comparison:
    """Fold a read model anew, compare it with the live one and put it in its place.

    Raises:
        Rejected: another rebuild or verification of it runs, or it has never been filled.
        Unavailable: a server is away; nothing has changed.
    """
    return await _refill(settings, projection, progress, switch=True)


async def verify(settings: Settings, projection: Projection, progress: Progress = lambda *_: None) -> Comparison:
    """Fold a read model anew, compare it with the live one and forget it again.

    Raises:
        Rejected, Unavailable: as `rebuild`.
    """
    return await _refill(settings, projection, progress, switch=False)


async def _refill(settings: Settings, projection: Projection, progress: Progress, *, switch: bool) -> Comparison:
    decoder = await open_decoder(settings)
    with translated(projection.name):
        async with await connect(settings, "rebuild") as connection, _fresh(settings, projection) as fresh:
            await checkpoint.prepare(connection, settings.postgres.db_schema)
            await _alone(connection, projection)
            fold = Fold(settings, decoder, projection, fresh, progress)
            await fold.up_to(await _checkpoints(connection, projection))
            async with connection.transaction():
                await fold.up_to(await checkpoint.lock_all(connection, projection.name, projection.version))
                comparison = await fresh.compare()
                if switch:
                    await fresh.switch(connection)
            return comparison


async def _alone(connection: AsyncConnection[Any], projection: Projection) -> None:
    rows = await connection.execute(
        "SELECT pg_try_advisory_lock(hashtext(%s), hashtext(current_schema())) AS mine", (projection.name,)
    )
    (row,) = await rows.fetchall()
    if not row["mine"]:
        raise Rejected(f"{projection.name} is being rebuilt or verified by somebody else", code="rebuild_running")


async def _checkpoints(connection: AsyncConnection[Any], projection: Projection) -> dict[str, dict[int, int]]:
    found = await checkpoint.load(connection, projection.name, projection.version)
    if not found:
        raise Rejected(
            f"{projection.name} (version {projection.version}) has never been filled: run the projector first",
            code="never_filled",
        )
    return found


class Fold:
    """A fold from the first record, which can be brought further in steps."""

    def __init__(
        self, settings: Settings, decoder: Decoder, projection: Projection, fresh: Fresh, progress: Progress
    ) -> None:
        self._settings = settings
        self._decoder = decoder
        self._name = projection.name
        self._fresh = fresh
        self._progress = progress
        self._reached: dict[str, dict[int, int]] = {}

    async def up_to(self, targets: Mapping[str, Mapping[int, int]]) -> None:
        """Fold everything below these offsets that has not been folded yet.

        Raises:
            Unavailable: Kafka does not deliver it.
        """
        total = sum(end for partitions in targets.values() for end in partitions.values())
        for topic, ends in targets.items():
            reached = self._reached.setdefault(topic, dict.fromkeys(ends, 0))
            wanted = {p: reached[p] for p, end in ends.items() if reached[p] < end}
            if wanted:
                reader = open_reader(self._settings, self._decoder, Silent(), topic, wanted, name=self._name)
                async with reader as opened:
                    async for batch in _batches(opened, wanted, ends):
                        await self._take(batch)
                        reached |= batch.ends
                        self._progress(sum(n for part in self._reached.values() for n in part.values()), total)

    async def _take(self, batch: Batch) -> None:
        """Fold a batch; an event that does not fit is left out, as the live fold did."""
        try:
            with translated(self._name):
                await self._fresh.fold(batch)
        except Unfit:
            if len(batch) > 1:
                for half in batch.halves():
                    await self._take(half)


async def _batches(reader: Reader, start: Mapping[int, int], ends: Mapping[int, int]) -> AsyncIterator[Batch]:
    """What a reader brings until every partition that it started in has come to its end."""
    reached, empty = dict(start), 0
    while any(reached[p] < ends[p] for p in reached):
        batch = await reader.read()
        empty = empty + 1 if batch is None else 0
        if empty > PATIENCE:
            raise Unavailable(f"Kafka has brought nothing for {empty} s, though the log goes on after {reached}")
        if batch is not None:
            wanted = batch.below(ends)
            reached |= wanted.ends
            yield wanted


@asynccontextmanager
async def _fresh(settings: Settings, projection: Projection) -> AsyncIterator[Fresh]:
    fresh: FreshTable | FreshIndex
    async with await connect(settings, "rebuild fold") as connection, make_elastic(settings) as client:
        if isinstance(projection, View):
            fresh = FreshTable(projection, settings.postgres.db_schema, connection)
        else:
            live = Documents(projection, settings, client)
            fresh = FreshIndex(live, _beside(projection, settings, client, live), client)
        await fresh.begin()
        try:
            yield fresh
        finally:
            await fresh.discard()


def _beside(index: Index, settings: Settings, client: Any, live: Documents) -> Documents:
    return Documents(index, settings, client, f"{live.alias}_{uuid4().hex[:8]}")


class FreshTable:
    """A table beside the live one of a view.

    Args:
        connection: used by this fold alone.
    """

    def __init__(self, view: View, schema: str, connection: AsyncConnection[DictRow]) -> None:
        self._live = Table(view, schema)
        self._table = Table(view, schema, f"{view.physical}_fresh")
        self._connection = connection

    async def begin(self) -> None:
        """See `Fresh`."""
        await self._connection.execute("SET synchronous_commit = off")  # a crash ends the rebuild anyway
        await self._table.drop(self._connection)
        await self._table.create(self._connection)
        await self._table.stage_in(self._connection)

    async def fold(self, batch: Batch) -> None:
        """See `Fresh`."""
        async with self._connection.transaction():
            await self._table.fold(self._connection, batch)

    async def compare(self) -> Comparison:
        """See `Fresh`."""
        return await compare_tables(self._connection, self._live, self._table)

    async def switch(self, connection: AsyncConnection[DictRow]) -> None:
        """See `Fresh`."""
        await connection.execute("SET LOCAL lock_timeout = '10s'")
        await self._table.replace(connection, self._live)

    async def discard(self) -> None:
        """See `Fresh`."""
        await self._table.drop(self._connection)


class FreshIndex:
    """An index beside the live one."""

    def __init__(self, live: Documents, fresh: Documents, client: Any) -> None:
        self._live = live
        self._index = fresh
        self._client = client

    async def begin(self) -> None:
        """See `Fresh`."""
        await self._index.create(self._index.name)

    async def fold(self, batch: Batch) -> None:
        """See `Fresh`."""
        await self._index.fold(batch)

    async def compare(self) -> Comparison:
        """See `Fresh`."""
        return await compare_indices(self._client, self._live.alias, self._index.name)

    async def switch(self, connection: AsyncConnection[DictRow]) -> None:
        """See `Fresh`."""
        await self._live.give_way(self._index.name)

    async def discard(self) -> None:
        """See `Fresh`."""
        if self._index.name not in await self._live.targets(self._live.alias):
            await self._client.indices.delete(index=self._index.name, ignore_unavailable=True)
