"""Folding a read model again from the first record, beside the live one; then comparing, then switching.

The live read model goes on being read and written. A rebuild is a row in the database (`attempt`): it can be paused,
killed, resumed and cancelled. It is compared with the live one as that stood at one moment, to which it is folded
exactly; nobody waits for that. Only for the last step the checkpoints of the live one are held: what came since is
folded, and the two change places in one step. The old one is kept for going back, which is the same step again.

Nothing outside is touched: no dead letter is written twice, nobody is notified.
"""

import asyncio
from contextlib import suppress
from dataclasses import replace

import structlog
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from infra.settings import Settings
from projections.attempt import UNDER_WAY, Attempt, Attempts, State, fingerprint
from projections.beside import new_target, open_beside
from projections.claim import alone, opened, stopped
from projections.compare import Comparison
from projections.faults import translated
from projections.job import Stopped, checkpoints, open_job, put_failed, put_paused, unless_stopped
from projections.older import remove_older
from projections.refill import Progress
from projections.view import Projection
from schemas.errors import Problem, Rejected

__all__ = ["Progress", "cancel", "pause", "rebuild", "resume", "retire", "rollback", "switch", "verify"]

log = structlog.get_logger()


def _silent(_: int, __: int) -> None:
    """Tell nobody."""


async def rebuild(
    settings: Settings,
    projection: Projection,
    progress: Progress = _silent,
    *,
    rate: int | None = None,
    switches: bool = True,
    requested_by: str = "",
) -> Attempt:
    """Fold a read model anew, compare it with the live one and let the two change places.

    When the call is cancelled, the rebuild is paused.

    Args:
        rate: records a second at most.
        switches: whether they change places; else it stays ready for `switch`.

    Raises:
        Rejected: another rebuild or verification of it is under way, or it has never been filled.
        Unavailable: a server is away; the rebuild is `failed` and can be resumed.
    """
    async with alone(settings, projection) as connection:
        attempts = Attempts(connection)
        await checkpoints(connection, projection)
        attempt = await attempts.add(projection, "rebuild", rate=rate, switches=switches, requested_by=requested_by)
        await attempts.set(attempt.id, target=new_target(projection, settings))
        return await _work(settings, projection, connection, await attempts.get(attempt.id), progress)


async def start(
    settings: Settings, projection: Projection, *, rate: int | None, switches: bool, requested_by: str
) -> Attempt:
    """Put a rebuild on record that another process is to `resume`.

    Raises:
        Rejected: as `rebuild`.
    """
    async with alone(settings, projection) as connection:
        attempts = Attempts(connection)
        await checkpoints(connection, projection)
        attempt = await attempts.add(projection, "rebuild", rate=rate, switches=switches, requested_by=requested_by)
        await attempts.set(attempt.id, target=new_target(projection, settings), state="paused")
        return await attempts.get(attempt.id)


async def resume(
    settings: Settings, projection: Projection, progress: Progress = _silent, *, rate: int | None = None
) -> Attempt:
    """Go on with a rebuild that was paused, has failed, or whose process is gone.

    Args:
        rate: another one than before.

    Raises:
        Rejected: there is none, it is running or ready, or the declaration has changed since it began.
        Unavailable: as `rebuild`.
    """
    async with alone(settings, projection) as connection:
        attempts = Attempts(connection)
        attempt = await attempts.under_way(projection.name)
        if attempt is None:
            raise Rejected(f"no rebuild of {projection.name} is under way", code="no_rebuild")
        if attempt.state == "ready":
            raise Rejected(f"the rebuild of {projection.name} is ready: switch or cancel it", code="rebuild_ready")
        _check_declaration(projection, attempt)
        await attempts.set(attempt.id, state="running", wish=None, cause="", rate=rate or attempt.rate)
        return await _work(settings, projection, connection, await attempts.get(attempt.id), progress)


async def verify(settings: Settings, projection: Projection, progress: Progress = _silent) -> Comparison:
    """Fold a read model anew, compare it with the live one and forget it again, however it ends.

    Raises:
        Rejected, Unavailable: as `rebuild`; nothing is left.
    """
    async with alone(settings, projection) as connection:
        attempts = Attempts(connection)
        await checkpoints(connection, projection)
        await _remove_verifications(settings, projection, attempts)  # of a process that was killed
        try:
            attempt = await attempts.add(projection, "verify", rate=None, switches=False, requested_by="")
            await attempts.set(attempt.id, target=new_target(projection, settings))
            attempt = await attempts.get(attempt.id)
            with translated(projection.name):
                async with open_job(settings, projection, connection, attempt, progress) as job:
                    return await unless_stopped(settings, attempt, job, job.fill())
        finally:
            await asyncio.shield(_remove_verifications(settings, projection, attempts))


async def pause(settings: Settings, projection: Projection) -> Attempt:
    """Let the process of a rebuild stop where it is.

    Raises:
        Rejected: none is running.
    """
    async with await opened(settings) as connection:
        attempts = Attempts(connection)
        attempt = await attempts.under_way(projection.name)
        if attempt is None or attempt.state != "running":
            raise Rejected(f"no rebuild of {projection.name} is running", code="no_rebuild_running")
        async with stopped(settings, projection, connection, attempt, "pause"):
            attempt = await attempts.get(attempt.id)
            if attempt.state == "running":  # its process was killed
                await attempts.set(attempt.id, state="paused", wish=None)
            return await attempts.get(attempt.id)


async def cancel(settings: Settings, projection: Projection) -> None:
    """Stop a rebuild and leave nothing of it.

    Raises:
        Rejected: none is under way.
    """
    async with await opened(settings) as connection:
        attempts = Attempts(connection)
        attempt = await attempts.under_way(projection.name)
        if attempt is None:
            raise Rejected(f"no rebuild of {projection.name} is under way", code="no_rebuild")
        async with stopped(settings, projection, connection, attempt, "cancel"):
            left = await attempts.under_way(projection.name)
            if left is not None and left.id == attempt.id:
                await _remove(settings, projection, attempts, left)
            elif await attempts.done(projection.name):
                raise Rejected(f"{projection.name} has been switched meanwhile: roll it back", code="no_rebuild")


async def switch(settings: Settings, projection: Projection, progress: Progress = _silent) -> Attempt:
    """Let a rebuild that is ready, or was rolled back, change places with the live one.

    Raises:
        Rejected: none is ready.
        Unavailable: somebody reads the live one for too long, or a server is away; nothing has changed.
    """
    async with alone(settings, projection) as connection:
        attempts = Attempts(connection)
        ready, before = await attempts.under_way(projection.name), await attempts.done(projection.name)
        attempt = ready or before
        if attempt is None or attempt.state not in ("ready", "rolled_back"):
            raise Rejected(f"no rebuild of {projection.name} is ready to be switched", code="no_rebuild_ready")
        return await _exchanged(settings, projection, connection, attempt, "switched", progress)


async def rollback(settings: Settings, projection: Projection, progress: Progress = _silent) -> Attempt:
    """Let the one that was live before the last switch be live again, with all that came since.

    Raises:
        Rejected: none is kept.
        Unavailable: as `switch`.
    """
    async with alone(settings, projection) as connection:
        attempt = await Attempts(connection).done(projection.name)
        if attempt is None or attempt.state != "switched":
            raise Rejected(f"no older table or index of {projection.name} is kept", code="nothing_kept")
        return await _exchanged(settings, projection, connection, attempt, "rolled_back", progress)


async def retire(settings: Settings, projection: Projection) -> list[str]:
    """Remove what is kept for going back, and earlier versions; answers the names of what is gone.

    Raises:
        Rejected: nothing is kept.
    """
    async with alone(settings, projection) as connection:
        attempts = Attempts(connection)
        attempt = await attempts.done(projection.name)
        with translated(projection.name):
            gone = await remove_older(settings, projection, connection)
        if attempt is not None:
            await _retire(settings, projection, attempts, attempt)
            gone.append(str(attempt.target))
        if not gone:
            raise Rejected(f"no older table or index of {projection.name} is kept", code="nothing_kept")
        return gone


def _check_declaration(projection: Projection, attempt: Attempt) -> None:
    if (attempt.version, attempt.declaration) != (projection.version, fingerprint(projection)):
        raise Rejected(
            f"the declaration of {projection.name} has changed since this rebuild began: cancel it and begin another",
            code="declaration_changed",
        )


async def _work(
    settings: Settings,
    projection: Projection,
    connection: AsyncConnection[DictRow],
    attempt: Attempt,
    progress: Progress,
) -> Attempt:
    """Work on a rebuild until it is where it is to be; whatever stops it is put on record."""
    attempts = Attempts(connection)
    try:
        with translated(projection.name):
            async with open_job(settings, projection, connection, attempt, progress) as job:
                comparison = await unless_stopped(settings, attempt, job, job.fill())
                kept = comparison if projection.personal is None else replace(comparison, sample=())
                await attempts.set(attempt.id, state="ready", comparison=kept)  # an erasure would not find a sample
                if attempt.switches:
                    await job.swap("switched")
    except Stopped as fault:
        if fault.wish == "cancel":
            await _remove(settings, projection, attempts, attempt)
            raise Rejected(f"the rebuild of {projection.name} has been cancelled", code="rebuild_cancelled") from None
        await attempts.set(attempt.id, state="paused", wish=None)
        return await attempts.get(attempt.id)
    except asyncio.CancelledError:
        await asyncio.shield(put_paused(settings, attempt))
        raise
    except Problem as fault:
        with suppress(Exception):
            await put_failed(settings, attempt, fault)
        raise
    done = await attempts.get(attempt.id)
    if done.state == "switched":
        await _retire_older(settings, projection, attempts, done)
    return replace(done, comparison=comparison)


async def _exchanged(
    settings: Settings,
    projection: Projection,
    connection: AsyncConnection[DictRow],
    attempt: Attempt,
    state: State,
    progress: Progress,
) -> Attempt:
    _check_declaration(projection, attempt)
    with translated(projection.name):
        async with open_job(settings, projection, connection, attempt, progress) as job:
            await job.swap(state)
    attempts = Attempts(connection)
    await _retire_older(settings, projection, attempts, attempt)
    return await attempts.get(attempt.id)


async def _remove_verifications(settings: Settings, projection: Projection, attempts: Attempts) -> None:
    for left in await attempts.all(projection.name):
        if left.purpose == "verify":
            await _remove(settings, projection, attempts, left)


async def _remove(settings: Settings, projection: Projection, attempts: Attempts, attempt: Attempt) -> None:
    """Leave nothing of a rebuild that was never switched."""
    await _discard(settings, projection, attempt)
    await attempts.remove(attempt.id)
    log.info("rebuild removed", view=projection.name, rebuild=attempt.id)


async def _retire(settings: Settings, projection: Projection, attempts: Attempts, attempt: Attempt) -> None:
    await _discard(settings, projection, attempt)
    await attempts.set(attempt.id, state="retired", target=None)


async def _retire_older(settings: Settings, projection: Projection, attempts: Attempts, attempt: Attempt) -> None:
    """One step back is kept, not two."""
    for older in await attempts.all(projection.name):
        if older.id < attempt.id and older.target is not None and older.state not in UNDER_WAY:
            await _retire(settings, projection, attempts, older)


async def _discard(settings: Settings, projection: Projection, attempt: Attempt) -> None:
    if attempt.target is not None:
        async with open_beside(settings, projection, attempt) as beside:
            with translated(projection.name):
                await beside.discard()
