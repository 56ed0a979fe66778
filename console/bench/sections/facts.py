"""Facts one at a time over HTTP: no rule guards them, so each is durable when it is answered."""

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import orjson

from console.api import Api
from console.bench import synthetic
from console.bench.bench import Bench, Section
from console.bench.cpu import told, with_cpu
from console.bench.figure import OURS, Figure, Sample, at_least, peers_of, runs_of
from console.bench.load import Send, closed_loop, open_loop
from console.bench.people import add_items
from console.bench.wire import Wire, wire_to_commands
from infra.settings import Settings
from schemas.interactions import InteractionRecorded

NAME = "facts"
WATCHED = ("commands", "kafka")
ITEMS = 50
CLIENTS = 32
WARM_UP_RATE = 200
WARM_UP_S = 1.0


async def run(bench: Bench) -> list[Figure]:
    """Record interactions, over HTTP and with the peer in this process."""
    items = synthetic.item_ids(ITEMS)
    async with AsyncExitStack() as open_until_done:
        api = await open_until_done.enter_async_context(Api(bench.settings, actor="bench"))
        await add_items(api, items)
        wire = await open_until_done.enter_async_context(wire_to_commands(bench.settings))
        sends: dict[str, Send] = {OURS: partial(_over_http, wire, items)}
        if bench.has_eventsourcing:
            library = _eventsourcing(bench.settings, items)
            sends["eventsourcing"] = await open_until_done.enter_async_context(library)
        for send in sends.values():
            await open_loop(send, rate=WARM_UP_RATE, duration_s=WARM_UP_S)
        samples = await bench.alternate(NAME, {who: partial(_measured, bench, sends[who]) for who in sends})
    figure = Figure(
        section=NAME,
        name=f"{CLIENTS} clients",
        unit="facts/s",
        better="higher",
        runs=runs_of(samples, OURS, "facts/s"),
        asked=at_least(2_000),
        peers=peers_of(samples, "facts/s"),
        note=told(samples[OURS], WATCHED),
    )
    return [figure]


async def _over_http(wire: Wire, items: list[str], number: int) -> None:
    body = {"user_id": f"user-{number}", "item_id": items[number % len(items)], "kind": "view"}
    await wire.send("POST", "/interactions", orjson.dumps(body | {"occurred_at": synthetic.BEGIN}))


@asynccontextmanager
async def _eventsourcing(settings: Settings, items: list[str]) -> AsyncIterator[Send]:
    from console.bench.peers import eventsourcing as library

    loop, began = asyncio.get_running_loop(), time.time_ns()
    with (
        library.schema(settings, NAME) as environment,
        library.Interactions(environment) as application,
        ThreadPoolExecutor(CLIENTS) as threads,
    ):

        def record() -> None:
            """Each is the first of a sequence of its own: whoever counts versions has to read first, and is slower."""
            user_id = f"user-{began}-{time.perf_counter_ns()}"
            fact = InteractionRecorded(user_id=user_id, item_id=items[0], kind="view", occurred_at=synthetic.BEGIN)
            application.record([fact])

        async def send(_number: int) -> None:
            await loop.run_in_executor(threads, record)

        yield send


async def _measured(bench: Bench, send: Send) -> Sample:
    load, cpu = await with_cpu(
        bench.stack, WATCHED, closed_loop(send, clients=CLIENTS, duration_s=bench.sizes.closed_s)
    )
    for fault, times in load.faults.most_common(3):
        bench.say(f"  [red]{times} × {fault}[/]")
    return {"facts/s": load.rate, "p99": load.percentile_ms(0.99), "faults": load.faults.total()} | cpu


SECTION = Section(NAME, 1, ("kafka", "postgres", "registry", "processor", "commands"), run)
