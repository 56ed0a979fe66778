"""How long it takes until everything runs, on data and downloads that are there."""

import asyncio
import time

from console.bench.bench import Bench, Section
from console.bench.figure import OURS, Figure, Sample, at_most, runs_of
from infra.stack.stack import SERVERS, SERVICES

NAME = "stack"


async def run(bench: Bench) -> list[Figure]:
    """Stop everything and start it again."""

    async def restarted() -> Sample:
        await asyncio.to_thread(bench.stack.down)
        began = time.perf_counter()
        await asyncio.to_thread(bench.stack.up)
        return {"s": time.perf_counter() - began}

    samples = await bench.alternate(NAME, {OURS: restarted})
    figure = Figure(
        section=NAME,
        name="warm start of everything",
        unit="s",
        better="lower",
        runs=runs_of(samples, OURS, "s"),
        asked=at_most(20),
    )
    return [figure]


SECTION = Section(NAME, 6, (*SERVERS, *SERVICES), run)
