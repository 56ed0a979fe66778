"""The work on one rebuild: filling, comparing, changing places; and putting on record whatever ends it."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from infra.ending import ended
from infra.postgres import connect
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from projections import checkpoint
from projections.attempt import Attempt, Attempts, State, Wish
from projections.beside import Beside, Positions, open_beside
from projections.compare import Comparison
from projections.refill import Fold, Progress
from projections.view import Projection
from schemas.errors import Problem, Rejected

NEAR = 5_000
"""Records that may be missing when the live read model is held."""

ROUNDS = 20
"""How often what came meanwhile is folded before the live read model is held all the same."""

BEAT_S = 0.5
"""How often a process tells that it works, and looks whether it is to stop."""


class Stopped(Exception):
    """Somebody wishes a rebuild to stop."""

    def __init__(self, wish: Wish) -> None:
        super().__init__(wish)
        self.wish = wish


class Job:
    """The work on one rebuild, in this process.

    Args:
        connection: holds the rebuild's lock.
    """

    def __init__(
        self,
        settings: Settings,
        projection: Projection,
        connection: AsyncConnection[DictRow],
        attempt: Attempt,
        beside: Beside,
        fold: Fold,
    ) -> None:
        self.fold = fold
        self._settings = settings
        self._projection = projection
        self._connection = connection
        self._attempts = Attempts(connection)
        self._attempt = attempt
        self._beside = beside

    async def fill(self) -> Comparison:
        """Fold everything and compare."""
        await self._catch_up()
        await self._beside.complete()
        await self._catch_up()
        async with AsyncExitStack() as stack:
            moment = await self._beside.moment(stack)
            await self.fold.up_to(moment.reached)
            return await moment.compare()

    async def swap(self, state: State) -> None:
        """Change places with the live one, and put the new state on record in the same step."""
        await self._catch_up()
        async with self._connection.transaction():
            held = await checkpoint.lock_all(self._connection, self._projection.name, self._projection.version)
            await self.fold.up_to(held, hurry=True)
            target = await self._beside.swap(self._connection)
            await self._attempts.set(self._attempt.id, state=state, target=target, counterpart=None, cause="")

    async def _catch_up(self) -> None:
        """Fold until only a little is missing."""
        for _ in range(ROUNDS):
            live = await checkpoints(self._connection, self._projection)
            if self.fold.behind(live) <= NEAR:
                return
            total = sum(end for partitions in live.values() for end in partitions.values())
            await self._attempts.set(self._attempt.id, total=total)
            await self.fold.up_to(live)


@asynccontextmanager
async def open_job(
    settings: Settings,
    projection: Projection,
    connection: AsyncConnection[DictRow],
    attempt: Attempt,
    progress: Progress,
) -> AsyncIterator[Job]:
    """What works on a rebuild, ready to go on where that stands."""
    live = await checkpoints(connection, projection)
    async with open_beside(settings, projection, attempt) as beside:
        await beside.open()
        decoder = await open_decoder(settings)
        reached = await Attempts(connection).reached(attempt.id, live)
        fold = Fold(settings, decoder, projection, beside, reached, rate=attempt.rate, progress=progress)
        yield Job(settings, projection, connection, attempt, beside, fold)


async def unless_stopped(
    settings: Settings, attempt: Attempt, job: Job, work: Coroutine[Any, Any, Comparison]
) -> Comparison:
    """Work, tell again and again that it is worked on, and stop when somebody wishes so.

    Raises:
        Stopped: somebody does.
    """
    async with await connect(settings, "rebuild beat") as connection:
        working = asyncio.create_task(work)
        try:
            while True:
                done, _ = await asyncio.wait([working], timeout=BEAT_S)
                if done:
                    result: Comparison = working.result()
                    return result
                if wish := await Attempts(connection).beat(attempt.id, job.fold.speed.per_s):
                    raise Stopped(wish)
        finally:
            with suppress(Exception):  # who stopped it does not want to know what it was about to fail with
                await ended(working)


async def checkpoints(connection: AsyncConnection[Any], projection: Projection) -> Positions:
    """Where the live read model stands.

    Raises:
        Rejected: it was never filled.
    """
    found = await checkpoint.load(connection, projection.name, projection.version)
    if not found:
        raise Rejected(
            f"{projection.name} (version {projection.version}) has never been filled: run the projector first",
            code="never_filled",
        )
    return found


async def put_paused(settings: Settings, attempt: Attempt) -> None:
    """Put on record that a rebuild rests where it is, unless it had come further."""
    async with await connect(settings, "rebuild") as connection:
        attempts = Attempts(connection)
        if (await attempts.get(attempt.id)).state == "running":
            await attempts.set(attempt.id, state="paused", wish=None)


async def put_failed(settings: Settings, attempt: Attempt, fault: Problem) -> None:
    """Put on record why a rebuild did not go on."""
    async with await connect(settings, "rebuild") as connection:
        attempts = Attempts(connection)
        before: State = (await attempts.get(attempt.id)).state
        state = "failed" if before == "running" else before
        await attempts.set(attempt.id, state=state, cause=fault.detail, wish=None)
