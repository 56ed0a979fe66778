"""Recommendations from a trained and deployed model: how fast, how many on record, how fresh."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeAlias
from uuid import uuid4

from console.api import Api
from console.bench.bench import Bench, Section
from console.bench.figure import OURS, Figure, Goal, Sample, at_least, at_most, runs_of
from console.bench.load import Load, open_loop
from console.bench.model import MODEL, serve_movies
from infra.kafka.ranges import ranges_now
from infra.postgres import connect
from infra.settings import Settings
from infra.stack.stack import SERVERS, SERVICES
from schemas.errors import TimedOut

NAME = "recommend"
RATE = 100
WARM_UP_S = 2.0
TOPIC = "decisions"
RECORDED_WITHIN_S = 15
FRESH_WITHIN_S = 10
LOOK_EVERY_S = 0.005
FOLLOWED = "SELECT total FROM co_occurrence WHERE item_id = %s"

Ask: TypeAlias = Callable[[list[str], int], Awaitable[None]]
"""Asks for the person of a number, and notes what made the answer."""


async def run(bench: Bench) -> list[Figure]:
    """Ask for people of MovieLens at a steady rate, then see how soon an interaction shows."""
    async with Api(bench.settings, actor="bench", concurrency=0) as api:
        people = await serve_movies(bench, api)
        await _recommended(bench.settings, partial(_ask, api, people), WARM_UP_S)
        samples = await bench.alternate(NAME, {OURS: partial(_measured, bench, api, people)})
        fresh = await bench.alternate("freshness", {OURS: partial(_freshness, bench, api, people)})
    return [_figure(key, name, unit, goal, runs_of(samples, OURS, key)) for key, name, unit, goal in LATENCIES] + [
        _figure(key, name, "ms", goal, runs_of(fresh, OURS, key)) for key, name, goal in FRESHNESS
    ]


LATENCIES: Sequence[tuple[str, str, str, Goal | None]] = (
    ("p50", f"p50 at {RATE}/s", "ms", None),
    ("p95", f"p95 at {RATE}/s", "ms", None),
    ("p99", f"p99 at {RATE}/s", "ms", at_most(30)),
    ("by model", "answered by the model", "%", None),
    ("recorded", "answers on record", "%", at_least(100)),
    ("faults", "refused or failed", "answers", at_most(0)),
)
FRESHNESS: Sequence[tuple[str, str, Goal | None]] = (
    ("median", "interaction to changed answer, median", at_most(1000)),
    ("max", "interaction to changed answer, slowest", at_most(1000)),
    ("counted median", "interaction to live co-occurrence, median", at_most(1000)),
    ("counted max", "interaction to live co-occurrence, slowest", at_most(1000)),
)


def _figure(key: str, name: str, unit: str, goal: Goal | None, runs: Sequence[float]) -> Figure:
    better = "higher" if key in ("by model", "recorded") else "lower"
    return Figure(section=NAME, name=name, unit=unit, better=better, runs=runs, asked=goal)  # type: ignore[arg-type]


async def _ask(api: Api, people: Sequence[str], sources: list[str], number: int) -> None:
    answer = await api.recommend(people[(number * 37) % len(people)], model=MODEL)
    sources.append(f"{answer.body['source']} {answer.body['fallback_reason'] or ''}".strip())


async def _measured(bench: Bench, api: Api, people: Sequence[str]) -> Sample:
    load, sources, recorded = await _recommended(bench.settings, partial(_ask, api, people), bench.sizes.load_s)
    for fault, times in load.faults.most_common(3):
        bench.say(f"  [red]{times} × {fault}[/]")
    for source, times in Counter(sources).most_common():
        bench.say(f"  {times} × {source}")
    share = 100 / max(1, len(sources))
    return load.summary() | {"by model": sources.count("model") * share, "recorded": recorded * share}


async def _recommended(settings: Settings, ask: Ask, duration_s: float) -> tuple[Load, list[str], int]:
    """Ask for a while: the load, what made each answer, and how many answers came to the log."""
    sources: list[str] = []
    before = await _recorded(settings)
    load = await open_loop(partial(ask, sources), rate=RATE, duration_s=duration_s)
    return load, sources, await _settled(settings, before, len(sources))


async def _recorded(settings: Settings) -> int:
    return sum(part.end for part in await ranges_now(settings, [TOPIC]))


async def _settled(settings: Settings, before: int, answers: int) -> int:
    """How many decisions came to the log, when as many as the answers are there or time is up."""
    deadline = time.monotonic() + RECORDED_WITHIN_S
    while True:
        count = await _recorded(settings) - before
        if count >= answers or time.monotonic() > deadline:
            return count
        await asyncio.sleep(0.2)


async def _freshness(bench: Bench, api: Api, people: Sequence[str]) -> Sample:
    """Let people who have rated rate one more film; milliseconds until their answer is another."""
    waits = [await _until_changed(api, people[(number * 41) % len(people)]) for number in range(bench.sizes.fresh)]
    first, second = [item["item_id"] for item in (await _by_model(api, people[0], []))[:2]]
    counted = [await _until_counted(bench.settings, api, first, second) for _ in range(bench.sizes.fresh)]
    return {
        "median": sorted(waits)[len(waits) // 2],
        "max": max(waits),
        "counted median": sorted(counted)[len(counted) // 2],
        "counted max": max(counted),
    }


async def _until_changed(api: Api, user_id: str) -> float:
    """Rate what was recommended first: it is history from then on, and another film takes its place.

    Raises:
        TimedOut: the answer stays as it was.
    """
    before = await _by_model(api, user_id, [])
    began = time.perf_counter()
    await api.command("POST", "/interactions", _rating(user_id, before[0]["item_id"]))
    await _by_model(api, user_id, before)
    return (time.perf_counter() - began) * 1000


async def _until_counted(settings: Settings, api: Api, first: str, second: str) -> float:
    """Let somebody new meet two items; milliseconds from the second until it counts as having followed the first.

    Raises:
        TimedOut: it is not counted.
    """
    user = f"bench-{uuid4().hex}"
    await api.command("POST", "/interactions", _rating(user, first))
    async with await connect(settings, "bench") as connection:

        async def followed() -> int:
            row = await (await connection.execute(FOLLOWED, (first,))).fetchone()
            return row["total"] if row else 0

        before, began = await followed(), time.perf_counter()
        await api.command("POST", "/interactions", _rating(user, second))
        while time.perf_counter() - began < FRESH_WITHIN_S:
            if await followed() > before:
                return (time.perf_counter() - began) * 1000
            await asyncio.sleep(LOOK_EVERY_S)
    raise TimedOut(f"what user {user} met was not counted in {FRESH_WITHIN_S} s: see that a counter runs")


async def _by_model(api: Api, user_id: str, before: list[Any]) -> list[Any]:
    """Items of the first answer by the model that is another than `before`; a fallback says nothing of freshness."""
    deadline, source = time.monotonic() + FRESH_WITHIN_S, ""
    while time.monotonic() < deadline:
        answer = (await api.recommend(user_id, model=MODEL)).body
        source = answer["source"]
        if source == "model" and answer["items"] != before:
            return list(answer["items"])
        await asyncio.sleep(LOOK_EVERY_S)
    raise TimedOut(f"user {user_id} got no new answer of the model in {FRESH_WITHIN_S} s, the last was by '{source}'")


def _rating(user_id: str, item_id: str) -> dict[str, Any]:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"user_id": user_id, "item_id": item_id, "kind": "rate", "value": 5.0, "occurred_at": now}


SECTION = Section(NAME, 5, (*SERVERS, *(name for name in SERVICES if name != "embedder")), run)
