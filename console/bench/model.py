"""MovieLens in the log and a model of it on Triton, over HTTP alone."""

import asyncio
import time
from typing import Any

from console.api import Api
from console.bench.bench import Bench
from console.ingest import send_people_and_films, send_ratings
from console.movielens import load
from schemas.errors import NotFound, Problem, TimedOut

MODEL = "movies"
ALGORITHM = "item-to-item"
PATIENCE_S = 120


async def serve_movies(bench: Bench, api: Api) -> list[str]:
    """Ingest, train, deploy; answers who has a history.

    Raises:
        Problem: a step was refused or failed.
        TimedOut: a step takes too long.
    """
    data = await asyncio.to_thread(load, bench.settings.cache_dir)
    bench.say(f"  {len(data.items) + len(data.users):,} films and people, {bench.sizes.ratings:,} ratings")
    await send_people_and_films(api, data, lambda: None)
    ratings = data.ratings[: bench.sizes.ratings]
    await send_ratings(api, ratings, lambda _: None)
    bench.say(f"  train and deploy {ALGORITHM}")
    run = await _trained(api)
    await _deployed(api, run)
    await _caught_up(api)
    return sorted({rating.user_id for rating in ratings})


async def _trained(api: Api) -> dict[str, Any]:
    body = {"run_id": f"bench-{time.time_ns()}", "algorithm": ALGORITHM}
    await api.command("POST", f"/models/{MODEL}/training-runs", body)
    await until(api, f"/training-runs/{body['run_id']}", "status", "completed", "failed")
    for _ in range(100):
        versions = (await _asked(api, f"/models/{MODEL}")).get("versions", [])
        if found := [version for version in versions if version["run_id"] == body["run_id"]]:
            return dict(found[0])
        await asyncio.sleep(0.1)
    raise TimedOut(f"run {body['run_id']} is complete, and no version of {MODEL} names it")


async def _deployed(api: Api, version: dict[str, Any]) -> None:
    body = {
        "deployment_id": f"bench-{time.time_ns()}",
        "version": version["version"],
        "artifact_sha256": version["artifact_sha256"],
    }
    await api.command("POST", f"/models/{MODEL}/deployments", body)
    await until(api, f"/deployments/{body['deployment_id']}", "step", "completed", "rolled_back")


async def _caught_up(api: Api) -> None:
    """Wait for the read models: who has no history there yet is answered with what is popular."""
    deadline = time.monotonic() + PATIENCE_S
    while behind := [one["name"] for one in (await api.query("/projections")).body if one["lag_events"]]:
        if time.monotonic() > deadline:
            raise TimedOut(f"{', '.join(behind)} have not caught up after {PATIENCE_S} s")
        await asyncio.sleep(0.2)


async def until(api: Api, path: str, field: str, wanted: str, failed: str) -> dict[str, Any]:
    """Ask until `field` of the answer is `wanted`.

    Raises:
        Problem: it is `failed` instead.
        TimedOut: neither happens.
    """
    deadline, last = time.monotonic() + PATIENCE_S, None
    while time.monotonic() < deadline:
        answer = await _asked(api, path)
        last = answer.get(field)
        if last == wanted:
            return answer
        if last == failed:
            raise Problem(f"{path} is {failed}: {answer.get('reason', '')}")
        await asyncio.sleep(0.1)
    raise TimedOut(f"{path} is {last!r} and not {wanted!r} after {PATIENCE_S} s")


async def _asked(api: Api, path: str) -> dict[str, Any]:
    """What is there; nothing as long as the read model has not got it."""
    try:
        return dict((await api.query(path)).body)
    except Problem as problem:
        if problem.status != NotFound.status:
            raise
        return {}
