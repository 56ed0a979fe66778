"""Decisions: one command at a time at a steady rate, and as many as go."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import orjson

from console.api import Api
from console.bench import synthetic
from console.bench.bench import Bench, Section
from console.bench.cpu import told, with_cpu
from console.bench.figure import OURS, Figure, Sample, Samples, at_least, at_most, peers_of, runs_of
from console.bench.load import Send, closed_loop, open_loop
from console.bench.people import register
from console.bench.wire import Wire, wire_to_commands
from infra.settings import Settings

NAME = "commands"
WATCHED = ("commands", "processor", "kafka")
PEOPLE = 200
RATE = 200
CLIENTS = 32
WARM_UP_S = 1.0


async def run(bench: Bench) -> list[Figure]:
    """Change the preferences of people, over HTTP and with the peer in this process."""
    people = synthetic.user_ids(PEOPLE)
    async with AsyncExitStack() as open_until_done:
        api = await open_until_done.enter_async_context(Api(bench.settings, actor="bench"))
        await register(api, people)
        wire = await open_until_done.enter_async_context(wire_to_commands(bench.settings))
        sends: dict[str, Send] = {OURS: partial(_over_http, wire, people)}
        if bench.has_eventsourcing:
            library = _eventsourcing(bench.settings, people)
            sends["eventsourcing"] = await open_until_done.enter_async_context(library)
        for send in sends.values():
            await open_loop(send, rate=RATE, duration_s=WARM_UP_S)
        return figures(await bench.alternate(NAME, {who: partial(_measured, bench, sends[who]) for who in sends}))


async def _over_http(wire: Wire, people: list[str], number: int) -> None:
    body = {"favourite_categories": [f"category-{number % 7}", f"category-{number % 11}"], "language": "en"}
    await wire.send("PUT", f"/users/{people[number % len(people)]}/preferences", orjson.dumps(body))


@asynccontextmanager
async def _eventsourcing(settings: Settings, people: list[str]) -> AsyncIterator[Send]:
    from console.bench.peers import eventsourcing as library

    loop = asyncio.get_running_loop()
    with (
        library.schema(settings, NAME) as environment,
        library.people(environment, people) as command,
        ThreadPoolExecutor(CLIENTS) as threads,
    ):

        async def send(number: int) -> None:
            await loop.run_in_executor(threads, command, number)

        yield send


async def _measured(bench: Bench, send: Send) -> Sample:
    steady = await open_loop(send, rate=RATE, duration_s=bench.sizes.load_s)
    loop = closed_loop(send, clients=CLIENTS, duration_s=bench.sizes.closed_s)
    full, cpu = await with_cpu(bench.stack, WATCHED, loop)
    for fault, times in (steady.faults + full.faults).most_common(3):
        bench.say(f"  [red]{times} × {fault}[/]")
    return steady.summary() | {"full": full.rate, "faults": steady.faults.total() + full.faults.total()} | cpu


def figures(samples: Samples) -> list[Figure]:
    """The figures of these runs."""
    late = max(runs_of(samples, OURS, "late_ms"))
    latencies = [
        Figure(
            section=NAME,
            name=f"{key} at {RATE}/s",
            unit="ms",
            better="lower",
            runs=runs_of(samples, OURS, key),
            asked=goal,
            peers=peers_of(samples, key),
            note=f"the generator was at most {late:.1f} ms late, which the latencies include" if key == "p99" else "",
        )
        for key, goal in (("p50", at_most(5)), ("p95", None), ("p99", at_most(25)))
    ]
    throughput = Figure(
        section=NAME,
        name=f"{CLIENTS} clients",
        unit="commands/s",
        better="higher",
        runs=runs_of(samples, OURS, "full"),
        asked=at_least(1_500),
        peers=peers_of(samples, "full"),
        note=told(samples[OURS], WATCHED),
    )
    refused = Figure(
        section=NAME,
        name="refused or failed",
        unit="commands",
        better="lower",
        runs=runs_of(samples, OURS, "faults"),
        asked=at_most(0),
        peers=peers_of(samples, "faults"),
    )
    return [*latencies, throughput, refused]


SECTION = Section(NAME, 1, ("kafka", "postgres", "registry", "processor", "commands"), run)
