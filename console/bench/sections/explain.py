"""Explaining decisions about people who met much, in a long log: warm, by the index of keys and by what is kept."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import psycopg
from psycopg.sql import SQL, Identifier

from console.bench import audited
from console.bench.audited import Decided
from console.bench.bench import Bench, Section
from console.bench.figure import OURS, Figure, Sample, at_most, runs_of
from console.bench.stats import percentile
from inference.counting.gists import Gists
from inference.counting.worker import counted_so_far
from inference.explaining.explain import Explainer
from infra.health import Health
from infra.kafka.ranges import ranges_now
from infra.kafka.records import Decoder
from infra.postgres import connect
from infra.settings import Settings
from projections.runner import run as run_projector
from projections.views import decisions, event_index

NAME = "explain"
VIEWS = (event_index.VIEW, decisions.VIEW)
TOPICS = ("interactions", "catalog", "profiles")
TIMES = 5
"""Explanations of each decision in a run."""

COUNTED = ("interactions", "profiles")
STARTS = ("from the log", "from what is kept", "from the log, CPU", "from what is kept, CPU")
"""How the counter of the live co-occurrence may start."""

LOOK_EVERY_S = 0.5
REACHED = """
    SELECT coalesce(sum(next_offset), 0) AS reached FROM projection_offsets
    WHERE view = %s AND topic = ANY(%s)
"""


async def run(bench: Bench) -> list[Figure]:
    """Fill a log and the index over it; then explain decisions, one after another."""
    settings, total = bench.corner(NAME), bench.sizes.rebuild
    bench.say(f"  a log of {total:,} interactions")
    decoder = await audited.filled(settings, total)
    with psycopg.connect(settings.postgres.dsn.get_secret_value(), autocommit=True) as connection:
        connection.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(settings.postgres.db_schema)))
    projector = asyncio.create_task(run_projector(settings, Health(NAME), VIEWS))
    try:
        indexed_s = await _indexed(settings)
        bench.say(f"  indexed in {indexed_s:.1f} s; decisions are made")
        made = await audited.decided(settings, decoder)
        samples = await bench.alternate(NAME, {OURS: partial(measured, settings, decoder, made)})
        starts = await bench.alternate("counter", {OURS: partial(started, settings, decoder)})
    finally:
        projector.cancel()
        with suppress(asyncio.CancelledError):
            await projector
    note = (
        f"{total:,} interactions; decisions about {audited.PEOPLE} people with {audited.EACH:,} interactions each, "
        f"spread evenly over the log, in record batches of {audited.BATCH_BYTES >> 10} KiB; every one found identical"
    )
    return [
        Figure(
            section=NAME,
            name=f"{source} answer made again, {key}",
            unit="ms",
            better="lower",
            runs=runs_of(samples, OURS, f"{source} {key}"),
            asked=at_most(1000) if key == "median" else None,
            note=note if (source, key) == ("model", "median") else "",
        )
        for source in audited.SOURCES
        for key in ("median", "p99", "CPU")
    ] + [
        Figure(section=NAME, name=f"counter {name}", unit="s", better="lower", runs=runs_of(starts, OURS, name))
        for name in STARTS
    ]


async def measured(settings: Settings, decoder: Decoder, made: Sequence[Decided]) -> Sample:
    """Explain every decision some times over; wall time of each, CPU time of this process on average.

    Raises:
        AssertionError: one is not identical.
    """
    explainer = Explainer(settings, decoder)
    for source in audited.SOURCES:
        first = next(one for one in made if one.source == source)
        await explainer.explain(first.decision_id)
    sample: dict[str, float] = {}
    for source in audited.SOURCES:
        mine = [one for one in made if one.source == source]
        waits, cpu = [], time.process_time()
        for one in mine * TIMES:
            began = time.perf_counter()
            told = await explainer.explain(one.decision_id)
            waits.append((time.perf_counter() - began) * 1000)
            assert told.identical, told.differences
        sample |= {f"{source} median": percentile(waits, 0.5), f"{source} p99": percentile(waits, 0.99)}
        sample[f"{source} CPU"] = (time.process_time() - cpu) * 1000 / len(waits)
    return sample


async def started(settings: Settings, decoder: Decoder) -> Sample:
    """Count the live co-occurrence from the log's beginning, as its role does at a start; wall and CPU time."""
    sample: dict[str, float] = {}
    for kept, name in enumerate(STARTS[:2]):
        began, cpu = time.perf_counter(), time.process_time()
        await counted_so_far(Gists(settings, decoder), await ranges_now(settings, COUNTED), kept=bool(kept))
        sample |= {name: time.perf_counter() - began, f"{name}, CPU": time.process_time() - cpu}
    return sample


async def _indexed(settings: Settings) -> float:
    """Wait until the index has reached the end of the log; how long that took, in seconds."""
    began = time.perf_counter()
    total = sum(part.end for part in await ranges_now(settings, TOPICS))
    async with await connect(settings, "bench") as connection:
        while True:
            with suppress(psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
                row = await (await connection.execute(REACHED, (event_index.VIEW.name, list(TOPICS)))).fetchone()
                if row is not None and row["reached"] >= total:
                    return time.perf_counter() - began
            await asyncio.sleep(LOOK_EVERY_S)


SECTION = Section(NAME, 4, ("kafka", "postgres", "registry"), run)
