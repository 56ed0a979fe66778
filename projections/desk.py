"""Where the projector hears what is asked of dead letters, and does it for the read models that it runs.

The topic `dead-letters` is read by every projector; a row that each step holds sees to it that one of them does it.
What the log says was skipped is learnt before any read model goes on, so that a database that was lost comes to be the
same.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager

import structlog
from elasticsearch import AsyncElasticsearch
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from infra.kafka.ranges import ranges_now
from infra.kafka.records import Decoder
from infra.postgres import connect
from infra.settings import Settings
from projections import asked, checkpoint, handover, parked
from projections.batch import Batch
from projections.faults import translated
from projections.mending import Mender, open_mender, settled_of
from projections.reader import open_reader
from projections.request import Request, Sums
from projections.view import Projection
from projections.voice import LogVoice
from schemas.deadletters import RecordSkipped, RetryRequested, SkipRequested
from schemas.errors import Problem, Unavailable
from schemas.position import Position

TOPIC = "dead-letters"
NOBODY = ("", 0)
"""Stands for what is about no read model, or about all of them: requests that nobody does, and what was skipped."""

RETRY_S = 1.0

TIDY_S = 3.0
"""How often it looks whether a rebuild has left something to do."""

log = structlog.get_logger()


class Desk:
    """Follows the requests.

    Args:
        projections: the read models that this projector runs.
        names: of every read model that there is.
        waits: is told what it waits for.
    """

    def __init__(
        self,
        settings: Settings,
        decoder: Decoder,
        voice: LogVoice,
        client: AsyncElasticsearch,
        projections: Iterable[Projection],
        names: Iterable[str],
        waits: Callable[[Problem], None],
    ) -> None:
        self._settings = settings
        self._decoder = decoder
        self._voice = voice
        self._client = client
        self._projections = {one.name: one for one in projections}
        self._names = {*names, *self._projections}
        self._waits = waits
        self._reached: dict[tuple[str, int], dict[int, int]] = {}
        self._tidied_at = float("-inf")
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Follow until cancelled; `ready` is set once everything said before the start has been heard."""
        while True:
            try:
                with translated("dead letters"):
                    await self._follow()
            except Problem as fault:
                log.warning("requests about dead letters wait", cause=str(fault))
                self._waits(fault)
            await asyncio.sleep(RETRY_S)

    async def _follow(self) -> None:
        ends = {part.partition: part.end for part in await ranges_now(self._settings, [TOPIC])}
        async with await connect(self._settings, "projector requests") as connection:
            await self._begin(connection, ends)
            start = {p: min(partitions[p] for partitions in self._reached.values()) for p in ends}
            self._tell_ready(start, ends)
            async with open_reader(self._settings, self._decoder, TOPIC, start) as reader:
                while True:
                    batch = await reader.read()
                    if batch is None:
                        await self._tidy(connection)
                        continue
                    await self._take(connection, batch)
                    start |= batch.ends
                    self._tell_ready(start, ends)

    def _tell_ready(self, reached: Mapping[int, int], ends: Mapping[int, int]) -> None:
        if all(reached[partition] >= end for partition, end in ends.items()):
            self.ready.set()

    async def _begin(self, connection: AsyncConnection[DictRow], ends: Mapping[int, int]) -> None:
        mine = [(one.name, one.version) for one in self._projections.values()]
        await checkpoint.prepare(connection, self._settings.postgres.db_schema)
        await asked.ensure(connection, *NOBODY, dict.fromkeys(ends, 0))
        for view, version in mine:
            await asked.ensure(connection, view, version, ends)
        found = await asked.reached(connection)
        self._reached = {one: found[one] for one in (NOBODY, *mine)}

    async def _take(self, connection: AsyncConnection[DictRow], batch: Batch) -> None:
        for heard in batch.recorded((RetryRequested, SkipRequested, RecordSkipped)):
            if isinstance(heard.event, RecordSkipped):
                if self._is_new(NOBODY, heard.position):
                    await self._learn(connection, heard.event)
            else:
                await self._hear(Request(heard.event, heard.meta, heard.position))
        await asked.advance(connection, list(self._reached), batch.ends)

    def _is_new(self, mark: tuple[str, int], place: Position) -> bool:
        return self._reached[mark].get(place.partition, 0) <= place.offset

    async def _learn(self, connection: AsyncConnection[DictRow], said: RecordSkipped) -> None:
        position = Position.parse(said.position)
        projection = self._projections.get(said.view)
        if await parked.is_skipped(connection, said.view, position):
            return
        if projection is None:
            async with connection.transaction():
                await parked.turn(connection, said.view, None, position)
                await parked.skip(connection, said.view, position, said.reason, said.request_id)
            return
        async with self._mender(projection) as mender:
            await mender.leave_out(said)

    async def _hear(self, request: Request) -> None:
        view = request.asked.view
        projection = self._projections.get(view)
        if projection is not None and self._is_new((view, projection.version), request.position):
            async with self._mender(projection) as mender:
                await self._mend(mender, request)
        elif view not in self._names and self._is_new(NOBODY, request.position):
            await self._refuse(request)

    async def _tidy(self, connection: AsyncConnection[DictRow]) -> None:
        """Nothing is asked: look whether a rebuild has left something to do."""
        if time.monotonic() < self._tidied_at + TIDY_S:
            return
        self._tidied_at = time.monotonic()
        for view, version in await handover.untidy(connection):
            projection = self._projections.get(view)
            if projection is not None and projection.version == version:
                async with self._mender(projection) as mender:
                    await mender.tidy()

    def _mender(self, projection: Projection) -> AbstractAsyncContextManager[Mender]:
        return open_mender(self._settings, self._decoder, self._voice, self._client, projection)

    async def _mend(self, mender: Mender, request: Request) -> None:
        """Do it; a request that cannot be done is answered so, and holds up no other."""
        try:
            await mender.do(request)
        except Unavailable:
            self.ready.set()  # what was left out before is known: read models in the other store need not wait for this
            raise
        except Exception as fault:
            log.exception("request about dead letters failed", request=request.id)
            await mender.settle(request, str(fault) or repr(fault))

    async def _refuse(self, request: Request) -> None:
        """Nobody keeps anything aside under this name."""
        view = request.asked.view
        problem = (
            f"there is no read model '{view}' that keeps records aside; other readers have gone on without what they "
            "gave up, and it cannot be tried again: send its content anew"
        )
        settled = settled_of(request, view, 0, Sums(), problem)
        await self._voice.say(settled, view, request.meta, f"{view}/0")
