"""Queries: profiles as fast as they go, and at a steady rate; beside a plain service on the same table."""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from console.api import Api
from console.bench import synthetic
from console.bench.bench import Bench, Section
from console.bench.figure import OURS, Figure, at_least, at_most
from console.bench.load import closed_loop
from console.bench.pace import Pace
from console.bench.people import register
from console.bench.wire import Wire
from infra.access.client import headers_of
from infra.settings import Settings, child_environment
from schemas.errors import Problem, TimedOut

NAME = "queries"
PEER = "FastAPI, pydantic, psycopg"
PEOPLE = 2_000
RATE = 500
CLIENTS = 16
WARM_UP_S = 1.0
PACE = Pace(
    section=NAME,
    unit="profiles",
    rate=RATE,
    clients=CLIENTS,
    watched=("queries",),
    latencies={"p50": None, "p99": at_most(10)},
    most=at_least(2_000),
)
STARTS_WITHIN_S = 30


async def run(bench: Bench) -> list[Figure]:
    """Read profiles over HTTP, of our service and of the peer's."""
    people = synthetic.user_ids(PEOPLE)
    async with AsyncExitStack() as open_until_done:
        api = await open_until_done.enter_async_context(Api(bench.settings, actor="bench"))
        await register(api, people)
        for one in people:
            await _seen(api, one)
        urls = {
            OURS: bench.settings.queries.url,
            PEER: await open_until_done.enter_async_context(_peer(bench.settings)),
        }
        wires = {
            who: await open_until_done.enter_async_context(Wire(url, headers_of(bench.settings)))
            for who, url in urls.items()
        }
        for wire in wires.values():
            await _until_there(wire, people[0])
            await closed_loop(partial(_read, wire, people), clients=CLIENTS, duration_s=WARM_UP_S)
        reads = {who: partial(_read, wire, people) for who, wire in wires.items()}
        return PACE.figures(
            await bench.alternate(NAME, {who: partial(PACE.measured, bench, reads[who]) for who in reads})
        )


async def _seen(api: Api, person: str) -> None:
    """Return when the read model knows a person."""
    for _ in range(300):
        try:
            await api.query(f"/users/{person}")
            return
        except Problem as problem:
            if problem.status not in (404, 503):
                raise
        await asyncio.sleep(0.1)
    raise TimedOut(f"the read model does not know {person} yet: is the projector running?")


@asynccontextmanager
async def _peer(settings: Settings) -> AsyncIterator[str]:
    """The peer in a process of its own; its address."""
    with socket.create_server(("127.0.0.1", 0)) as place:
        port = place.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "console.bench.peers.queries", str(port)), env=child_environment(settings)
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def _until_there(wire: Wire, person: str) -> None:
    for _ in range(STARTS_WITHIN_S * 10):
        try:
            await wire.send("GET", f"/users/{person}", b"")
            return
        except Problem:
            await asyncio.sleep(0.1)
    raise TimedOut("the service did not start in time")


async def _read(wire: Wire, people: list[str], number: int) -> None:
    await wire.send("GET", f"/users/{people[(number * 37) % len(people)]}", b"")


SECTION = Section(
    NAME, 3, ("kafka", "postgres", "elastic", "registry", "processor", "commands", "projector", "queries"), run
)
