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
from console.bench.figure import OURS, Figure, at_least, at_most
from console.bench.load import Send, open_loop
from console.bench.pace import Pace
from console.bench.people import register
from console.bench.wire import Wire, wire_to_commands
from infra.settings import Settings

NAME = "commands"
PEOPLE = 200
RATE = 200
CLIENTS = 32
WARM_UP_S = 1.0
PACE = Pace(
    section=NAME,
    unit="commands",
    rate=RATE,
    clients=CLIENTS,
    watched=("commands", "processor", "kafka"),
    latencies={"p50": at_most(5), "p95": None, "p99": at_most(25)},
    most=at_least(1_500),
)


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
        return PACE.figures(
            await bench.alternate(NAME, {who: partial(PACE.measured, bench, sends[who]) for who in sends})
        )


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


SECTION = Section(NAME, 1, ("kafka", "postgres", "registry", "processor", "commands"), run)
