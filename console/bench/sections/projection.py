"""From the log into PostgreSQL and Elasticsearch: two read models at once, and single ones, from offset 0."""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from console.bench import synthetic
from console.bench.bench import Bench, Measure, Section
from console.bench.figure import OURS, Figure, Goal, Sample, Samples, at_least, peers_of, runs_of
from console.bench.log import filled, filled_catalogue
from console.bench.peers import faust, plain
from console.bench.peers.tables import read_model
from infra.elastic import index_name, make_elastic
from infra.health import Health
from infra.settings import Settings
from projections.runner import run as run_projector
from projections.view import Index, Projection
from projections.views import catalogue_search, popularity, user_history

NAME = "projection"
BOTH = (user_history.VIEW, popularity.VIEW)
LOOK_EVERY_S = 0.02
PATIENCE_S = 300
REACHED = SQL("SELECT coalesce(sum(next_offset), 0) FROM projection_offsets WHERE view = %s")


async def run(bench: Bench) -> list[Figure]:
    """Let everybody fold the same log into the same two tables, and ourselves into each read model alone."""
    settings, total, few = bench.corner("log"), bench.sizes.log, bench.sizes.few
    await filled(settings, total)
    await filled_catalogue(settings, bench.sizes.items)
    with tempfile.TemporaryDirectory(prefix="retrace-bench-") as folder:
        participants: dict[str, Measure] = {
            OURS: partial(ours, settings, BOTH, total),
            **{name: partial(ours, settings, [view], _size(bench, view)) for name, (view, _) in ALONE.items()},
            "plain, batches": partial(_peer, settings, plain.project_polls, total),
            "plain, each": partial(_peer, settings, plain.project_each, few),
            "Faust": partial(_peer, settings, partial(faust.project, folder=Path(folder)), few),
        }
        if bench.has_eventsourcing:
            participants["eventsourcing"] = partial(eventsourcing, settings, few)
        samples = await bench.alternate(NAME, participants)
    peers = {who: runs for who, runs in peers_of(samples, "events/s").items() if who not in ALONE}
    both = _figure("user history and popularity, events", samples, OURS, at_least(15_000), peers)
    return [both, *(_figure(name, samples, name, goal) for name, (_, goal) in ALONE.items())]


def _figure(
    name: str, samples: Samples, who: str, goal: Goal, peers: Mapping[str, Sequence[float]] = MappingProxyType({})
) -> Figure:
    runs = runs_of(samples, who, "events/s")
    return Figure(section=NAME, name=name, unit="per second", better="higher", runs=runs, asked=goal, peers=peers)


def _size(bench: Bench, projection: Projection) -> int:
    return bench.sizes.items if isinstance(projection, Index) else bench.sizes.log


async def ours(settings: Settings, wanted: Sequence[Projection], total: int) -> Sample:
    """One projector in this process, as the peers are, into an empty schema.

    Measured between the first and the last checkpoint that another connection sees; the first batch, which was written
    before the first of them, is not counted.
    """
    dsn, name = settings.postgres.dsn.get_secret_value(), settings.postgres.db_schema
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(name)))
        connection.execute(SQL("SET search_path = {}").format(Identifier(name)))
        projector = asyncio.create_task(run_projector(settings, Health(NAME), wanted))
        try:
            return {"events/s": await asyncio.to_thread(_between_checkpoints, connection, wanted, total)}
        finally:
            projector.cancel()
            with suppress(asyncio.CancelledError):
                await projector
            await _forget_indices(settings, wanted)


async def _forget_indices(settings: Settings, wanted: Sequence[Projection]) -> None:
    async with make_elastic(settings) as client:
        for index in wanted:
            if isinstance(index, Index):
                found = await client.options(ignore_status=404).indices.get(index=index_name(settings, index.physical))
                for name in found:
                    await client.indices.delete(index=name, ignore_unavailable=True)


def _between_checkpoints(connection: psycopg.Connection[Any], wanted: Sequence[Projection], total: int) -> float:
    deadline, began = time.monotonic() + PATIENCE_S, time.perf_counter()
    first: tuple[float, int] | None = None
    while time.monotonic() < deadline:
        reached, now = _reached(connection, wanted), time.perf_counter()
        if reached and first is None:
            first = (now, reached)
        if first and reached >= total:  # all in one batch: then the start counts too
            since, done = first if first[1] < total else (began, 0)
            return (total - done) / (now - since)
        time.sleep(LOOK_EVERY_S)
    raise TimeoutError(f"the projector has not folded {total} events in {PATIENCE_S} s")


def _reached(connection: psycopg.Connection[Any], wanted: Sequence[Projection]) -> int:
    """Events that every view has folded."""
    try:
        rows = [connection.execute(REACHED, [view.name]).fetchone() for view in wanted]
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


ALONE: Mapping[str, tuple[Projection, Goal]] = {
    "user history alone, events": (user_history.VIEW, at_least(70_000)),
    "popularity alone, events": (popularity.VIEW, at_least(200_000)),
    "catalogue into Elasticsearch, documents": (catalogue_search.INDEX, at_least(3_000)),
}
"""Read models that are measured by themselves, and what is asked of them."""

SECTION = Section(NAME, 3, ("kafka", "postgres", "elastic", "registry"), run)
