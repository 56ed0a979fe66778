"""From the log into PostgreSQL: user history and popularity, by one projector from offset 0."""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from console.bench import synthetic
from console.bench.bench import Bench, Measure, Section
from console.bench.figure import OURS, Figure, Sample, at_least, peers_of, runs_of
from console.bench.log import filled
from console.bench.peers import faust, plain
from console.bench.peers.tables import read_model
from infra.health import Health
from infra.settings import Settings
from projections.runner import run as run_projector
from projections.views import popularity, user_history

NAME = "projection"
VIEWS = (user_history.VIEW, popularity.VIEW)
LOOK_EVERY_S = 0.02
PATIENCE_S = 300
REACHED = SQL("SELECT coalesce(sum(next_offset), 0) FROM projection_offsets WHERE view = %s")


async def run(bench: Bench) -> list[Figure]:
    """Let everybody fold the same log into the same two tables."""
    settings, total, few = bench.corner("log"), bench.sizes.log, bench.sizes.few
    await filled(settings, total)
    with tempfile.TemporaryDirectory(prefix="retrace-bench-") as folder:
        participants: dict[str, Measure] = {
            OURS: partial(ours, settings, total),
            "plain, batches": partial(_peer, settings, plain.project_polls, total),
            "plain, each": partial(_peer, settings, plain.project_each, few),
            "Faust": partial(_peer, settings, partial(faust.project, folder=Path(folder)), few),
        }
        if bench.has_eventsourcing:
            participants["eventsourcing"] = partial(eventsourcing, settings, few)
        samples = await bench.alternate(NAME, participants)
    figure = Figure(
        section=NAME,
        name="events folded",
        unit="events/s",
        better="higher",
        runs=runs_of(samples, OURS, "events/s"),
        asked=at_least(15_000),
        peers=peers_of(samples, "events/s"),
    )
    return [figure]


async def ours(settings: Settings, total: int) -> Sample:
    """One projector in this process, as the peers are, into an empty schema.

    Measured between the first and the last checkpoint that another connection sees; the first batch, which was written
    before the first of them, is not counted.
    """
    dsn, name = settings.postgres.dsn.get_secret_value(), settings.postgres.db_schema
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(name)))
        connection.execute(SQL("SET search_path = {}").format(Identifier(name)))
        projector = asyncio.create_task(run_projector(settings, Health(NAME), VIEWS))
        try:
            return {"events/s": await asyncio.to_thread(_between_checkpoints, connection, total)}
        finally:
            projector.cancel()
            with suppress(asyncio.CancelledError):
                await projector


def _between_checkpoints(connection: psycopg.Connection[Any], total: int) -> float:
    deadline = time.monotonic() + PATIENCE_S
    first: tuple[float, int] | None = None
    while time.monotonic() < deadline:
        reached, now = _reached(connection), time.perf_counter()
        if reached and first is None:
            first = (now, reached)
        if first and reached >= total:
            return (total - first[1]) / (now - first[0])
        time.sleep(LOOK_EVERY_S)
    raise TimeoutError(f"the projector has not folded {total} events in {PATIENCE_S} s")


def _reached(connection: psycopg.Connection[Any]) -> int:
    """Events that every view has folded."""
    try:
        rows = [connection.execute(REACHED, [view.name]).fetchone() for view in VIEWS]
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        return 0
    return min(int(row[0]) if row else 0 for row in rows)


async def eventsourcing(settings: Settings, count: int) -> Sample:
    """Record some events, then project them; only the latter counts."""
    from console.bench.peers import eventsourcing as library

    def measured() -> float:
        with library.schema(settings, NAME) as environment:
            library.ingest(environment, list(synthetic.interactions(count)))
            return library.project(environment, count)

    return {"events/s": await asyncio.to_thread(measured)}


async def _peer(settings: Settings, project: Callable[..., Awaitable[float]], count: int) -> Sample:
    async with read_model(settings) as connection:
        return {"events/s": await project(settings, connection, count)}


SECTION = Section(NAME, 3, ("kafka", "postgres", "registry"), run)
