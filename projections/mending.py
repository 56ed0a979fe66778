"""Doing what is asked of dead letters: trying parked events again, and leaving them out.

One key at a time, in one transaction that keeps the fold of its partition out: the poison event, then those that wait
behind it, in their order, until one cannot be taken. What became of each is on record before the transaction ends; a
fault in between makes us do and say it again, under the same ids.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol, TypeAlias

from elasticsearch import AsyncElasticsearch
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from infra.kafka.at import open_records
from infra.kafka.deadletters import subject_of
from infra.kafka.records import Decoder, Raw
from infra.postgres import connect
from infra.settings import Settings
from projections import asked, handover, parked
from projections.batch import Batch
from projections.documents import Documents
from projections.faults import Unfit, translated
from projections.few import Few
from projections.parked import Parked
from projections.parking import poison, unreadable
from projections.request import Request, Sums, told_of
from projections.table import Table
from projections.view import Projection, View
from projections.voice import Voice
from schemas.deadletters import RecordRecovered, RecordSkipped, RequestSettled, RetryFailed
from schemas.envelope import Recorded
from schemas.errors import Unavailable
from schemas.position import Position

IN_ONE_FOLD = 5_000
"""Waiting events that are read and folded together."""

Read: TypeAlias = tuple[Raw, Recorded | Exception]
"""A record, and the event in it or why it cannot be read."""


class Store(Protocol):
    """What a read model is kept in."""

    async def fold(self, batch: Batch) -> None:
        """Bring events into it, within the transaction of the caller where it has one. Raises Unfit."""
        ...


class Source(Protocol):
    """Where parked events are read again."""

    async def read(self, topic: str, partition: int, offsets: Sequence[int]) -> list[Read]:
        """The records at these offsets, in their order."""
        ...


@dataclass(frozen=True)
class LogSource:
    """Reads them from the log."""

    settings: Settings
    decoder: Decoder

    async def read(self, topic: str, partition: int, offsets: Sequence[int]) -> list[Read]:
        """See `Source`.

        Raises:
            NotFound: the log no longer has one of them.
            Unavailable: Kafka or the registry does not answer.
        """
        async with open_records(self.settings, topic) as records:
            raws = await records.read(partition, offsets)
        return [(raw, await self._event(raw)) for raw in raws]

    async def _event(self, raw: Raw) -> Recorded | Exception:
        """Reading is a pure function of the bytes and the registry; whatever it raises is why it cannot be read."""
        try:
            await self.decoder.learn([raw])
            event = self.decoder.decode(raw)
            assert event is not None, "a void record is never parked"
            return event
        except Unavailable:
            raise
        except Exception as fault:
            return fault


class Mender:
    """Does what is asked of the dead letters of one read model.

    Args:
        connection: used by nobody else; `store` writes in its transactions.
    """

    def __init__(
        self, projection: Projection, connection: AsyncConnection[DictRow], store: Store, source: Source, voice: Voice
    ) -> None:
        self._projection = projection
        self._view = projection.name
        self._version = projection.version
        self._connection = connection
        self._store = store
        self._source = source
        self._voice = voice

    async def do(self, request: Request) -> None:
        """Do what a request asks, unless that has been done.

        Raises:
            Unavailable: a server is away; ask again.
            Broken: the statement of the view fails.
        """
        heads = await parked.poisoned(self._connection, self._view, self._version, request)
        for head in heads:
            async with self._connection.transaction():
                if not await asked.claim(self._connection, self._view, self._version, request):
                    return
                await self._mend(head, request)
        sums = await asked.sums(self._connection, self._view, self._version, request)
        nothing = "" if sums != Sums() else f"nothing of {self._view} that stands aside fits {request.selection}"
        await self.settle(request, nothing)

    async def settle(self, request: Request, problem: str = "") -> None:
        """Say that a request has been done, or why not.

        Raises:
            Unavailable: a server is away.
        """
        async with self._connection.transaction():
            if not await asked.claim(self._connection, self._view, self._version, request):
                return
            sums = await asked.sums(self._connection, self._view, self._version, request)
            settled = settled_of(request, self._view, self._version, sums, problem)
            await self._voice.say(settled, self._view, request.meta, f"{self._view}/{self._version}")
            await asked.done(self._connection, self._view, self._version, request)

    async def leave_out(self, said: RecordSkipped) -> None:
        """Leave out what the log says was skipped: by an earlier projector, whose tables are gone, or another's.

        Raises:
            Unavailable: a server is away.
        """
        position = Position.parse(said.position)
        async with self._connection.transaction():
            if await parked.is_skipped(self._connection, self._view, position):
                return
            await parked.turn(self._connection, self._view, None, position)
            await parked.skip(self._connection, self._view, position, said.reason, said.request_id)
            await self._pass_over(position)

    async def tidy(self) -> None:
        """See to what an exchange of two folds has brought: poison that nobody was told of, or that is left out.

        Raises:
            Unavailable: a server is away.
        """
        for event in await handover.untold(self._connection, self._view, self._version):
            at = event.position
            ((raw, _),) = await self._source.read(at.topic, at.partition, [at.offset])
            await self._voice.letter(self._projection, event, raw)
            await handover.tell(self._connection, self._view, self._version, at)
        for position in await handover.left_out(self._connection, self._view, self._version):
            async with self._connection.transaction():
                await parked.turn(self._connection, self._view, self._version, position)
                await self._pass_over(position)

    async def _pass_over(self, position: Position) -> None:
        line = await parked.line(self._connection, self._view, self._version, position)
        if line and line[0].position == position:
            await parked.release(self._connection, self._view, self._version, [position])
            await self._let_in(line[1:], "")

    async def _mend(self, head: Position, request: Request) -> None:
        every_version = None if request.reason is not None else self._version
        await parked.turn(self._connection, self._view, every_version, head)
        line = await parked.line(self._connection, self._view, self._version, head)
        if not line or line[0].position != head:
            return  # somebody else has done it meanwhile
        sums = await (self._retry(line, request) if request.reason is None else self._skip(line, request))
        await asked.add(self._connection, self._view, self._version, request, sums)

    async def _retry(self, line: Sequence[Parked], request: Request) -> Sums:
        taken, failed = await self._let_in(line, request.id)
        if taken:
            recovered = RecordRecovered(**told_of(self._projection, line[0]), request_id=request.id)
            await self._say(recovered, line[0], request)
            return Sums(recovered=1, released=taken - 1)
        assert failed is not None, "nothing was taken"
        fault = RetryFailed(
            **told_of(self._projection, failed),
            code=failed.code,
            cause=failed.cause,
            attempts=failed.attempts,
            request_id=request.id,
        )
        await self._say(fault, failed, request)
        return Sums(failed=1)

    async def _skip(self, line: Sequence[Parked], request: Request) -> Sums:
        head, reason = line[0], request.reason or ""
        skipped = RecordSkipped(**told_of(self._projection, head), reason=reason, request_id=request.id)
        await self._say(skipped, head, request)
        await parked.skip(self._connection, self._view, head.position, reason, request.id)
        await parked.release(self._connection, self._view, self._version, [head.position])
        taken, _ = await self._let_in(line[1:], request.id)
        return Sums(skipped=1, released=taken)

    async def _say(self, outcome: RecordRecovered | RecordSkipped | RetryFailed, of: Parked, request: Request) -> None:
        await self._voice.say(outcome, subject_of(of.key, of.position), request.meta, f"{self._version}/{of.position}")

    async def _let_in(self, line: Sequence[Parked], request_id: str) -> tuple[int, Parked | None]:
        """Take events of one key until one cannot be taken; how many were, and that one."""
        taken = 0
        for chunk in _chunks(line):
            first = chunk[0].position
            read = await self._source.read(first.topic, first.partition, [event.position.offset for event in chunk])
            count, fault = await self._longest(read)
            await parked.release(self._connection, self._view, self._version, [e.position for e in chunk[:count]])
            taken += count
            if fault is not None:
                return taken, await self._fails(chunk[count], read[count], fault, request_id)
        return taken, None

    async def _fails(self, event: Parked, read: Read, fault: Exception, request_id: str) -> Parked:
        raw, found = read
        refused = poison(found, fault) if isinstance(found, Recorded) else unreadable(raw, fault)
        now = datetime.now(UTC)
        attempts = await parked.fails(self._connection, self._view, self._version, refused, request_id, now)
        refused = replace(refused, key=event.key, attempts=attempts)
        if event.role == "waiting":
            await self._voice.letter(self._projection, refused, raw)
        return refused

    async def _longest(self, read: Sequence[Read]) -> tuple[int, Exception | None]:
        """Fold as many as can be, from the first on; how many those were, and why not the next."""
        good = next((i for i, (_, found) in enumerate(read) if isinstance(found, Exception)), len(read))
        count, fault = await self._fold(read[:good]) if good else (0, None)
        if fault is None and good < len(read):
            found = read[good][1]
            fault = found if isinstance(found, Exception) else None
        return count, fault

    async def _fold(self, read: Sequence[Read]) -> tuple[int, Exception | None]:
        """Fold all of them, or the half before the fault and so on."""
        try:
            with translated(self._view):
                async with self._connection.transaction():
                    await self._store.fold(_batch(read))
        except Unfit as fault:
            if len(read) == 1:
                return 0, fault
        else:
            return len(read), None
        middle = len(read) // 2
        count, why = await self._fold(read[:middle])
        if why is None:
            more, why = await self._fold(read[middle:])
            count += more
        return count, why


def settled_of(request: Request, view: str, version: int, sums: Sums, problem: str) -> RequestSettled:
    """What is said when a request has been done."""
    return RequestSettled(
        request_id=request.id,
        view=view,
        version=version,
        selection=request.selection,
        recovered=sums.recovered,
        failed=sums.failed,
        skipped=sums.skipped,
        released=sums.released,
        problem=problem,
    )


def _chunks(line: Sequence[Parked]) -> list[Sequence[Parked]]:
    return [line[start : start + IN_ONE_FOLD] for start in range(0, len(line), IN_ONE_FOLD)]


def _batch(read: Sequence[Read]) -> Batch:
    raws = [raw for raw, _ in read]
    events = [found for _, found in read if isinstance(found, Recorded)]
    partition = raws[0].partition
    return Batch(raws[0].topic.name, {partition: raws[0].offset}, {partition: raws[-1].offset + 1}, Few(events, raws))


@dataclass(frozen=True)
class TableStore:
    """The table of a view; several batches may be folded in one transaction."""

    table: Table
    connection: AsyncConnection[Any]

    async def fold(self, batch: Batch) -> None:
        """See `Store`."""
        await self.connection.execute("TRUNCATE pg_temp.batch")
        await self.table.fold(self.connection, batch)


@asynccontextmanager
async def open_mender(
    settings: Settings, decoder: Decoder, voice: Voice, client: AsyncElasticsearch, projection: Projection
) -> AsyncIterator[Mender]:
    """A mender of a read model.

    Raises:
        Unavailable: PostgreSQL is away.
    """
    async with await connect(settings, f"projector mends {projection.name}") as connection:
        store: Store
        if isinstance(projection, View):
            store = TableStore(Table(projection, settings.postgres.db_schema), connection)
            await store.table.stage_in(connection)
        else:
            store = Documents(projection, settings, client)
        yield Mender(projection, connection, store, LogSource(settings, decoder), voice)
