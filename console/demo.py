"""`retrace demo`: real servers, real data, the whole way, once through."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from uuid6 import uuid7

from console.api import Answer, Api
from console.explained import show
from console.ingest import send_people_and_films, send_ratings
from console.movielens import MovieLens, load
from console.story import Story
from console.train import followed, verify_run
from inference.explaining.explain import Explanation, explain
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from infra.stack.stack import Stack
from schemas.errors import NotFound, Problem, TimedOut

MODEL = "movies"
KNOWN_USER = "42"
ALGORITHMS: dict[str, dict[str, str]] = {"popularity": {}, "item-to-item": {}, "ease": {}}
QUALITY = "ndcg@10"
SHOWN = 5


def demo(
    picture: Annotated[Path | None, typer.Option(help="write what the terminal shows to this SVG file")] = None,
) -> None:
    """Show the whole way on real servers with MovieLens-100K, from an HTTP command to an answer explained."""
    settings = Settings()
    story = Story(Console(record=picture is not None, width=120 if picture is not None else None))
    story.console.print(
        Panel.fit(
            "[bold]Retrace[/]: machine-learning services whose every decision can be retraced.\n"
            "MovieLens-100K goes in over HTTP; a recommendation comes out that can be rebuilt from the log."
        )
    )
    with story.step("start Kafka, PostgreSQL, Elasticsearch, Triton and the services") as step:
        Stack(settings).up()
        step.outcome = "all healthy"
    asyncio.run(Demo(Settings(), story).run())
    if picture is not None:
        picture.write_text(story.console.export_svg(title="make demo"))


@dataclass
class Demo:
    """One telling of the story."""

    settings: Settings
    story: Story

    async def run(self) -> None:
        """Everything after the servers run.

        Raises:
            Problem: a service refused something, in its own words.
        """
        with self.story.step("read MovieLens-100K") as step:
            data = await asyncio.to_thread(load, self.settings.cache_dir)
            step.outcome = f"{len(data.users)} people, {len(data.items)} films, {len(data.ratings):,} ratings"
        async with Api(self.settings, actor="demo") as api:
            await self._ingest(api, data)
            versions = await self._train(api)
            best = max(versions, key=lambda v: v["metrics"].get(QUALITY, 0.0))
            await self._deploy(api, best)
            decision_id = await self._recommend(api, data, best["version"])
            await self._explain(decision_id)
            await self._verify(best)
            await self._look_around(api)
        self._close()

    async def _ingest(self, api: Api, data: MovieLens) -> None:
        if await _count(api, "/users/942/history"):
            with self.story.step("ingest over HTTP") as step:
                step.outcome = "in the log already, from an earlier demo; sent again it would change nothing"
            return
        with self.story.step("one command for each film and person, over HTTP") as step:
            step.total(len(data.items) + len(data.users))
            started = time.perf_counter()
            newest = await send_people_and_films(api, data, step.advance)
            count = len(data.items) + len(data.users)
            step.outcome = f"{count} decisions, {count / (time.perf_counter() - started):,.0f}/s"
        with self.story.step("all ratings as one bulk upload") as step:
            step.total(len(data.ratings))
            started = time.perf_counter()
            answer = await send_ratings(api, data.ratings, step.advance)
            rate = answer.body["accepted"] / (time.perf_counter() - started)
            step.outcome = (
                f"{answer.body['accepted']:,} events durable, {rate:,.0f}/s, {answer.body['refused']} refused"
            )
        with self.story.step("read models catch up") as step:
            await self._caught_up(api, [*newest.values(), *answer.body["positions"]])
            step.outcome = "every projection has read what was written"

    async def _caught_up(self, api: Api, positions: list[str]) -> None:
        for path, topics in {
            "/users/1/history": ("interactions",),
            "/popular": ("interactions",),
            "/items/1": ("catalog",),
            "/users/1": ("profiles",),
        }.items():
            wanted = ",".join(p for p in positions if p.partition("/")[0] in topics)
            if wanted:
                await api.query(path, {"min-position": wanted, "wait": "30"})

    async def _train(self, api: Api) -> list[dict[str, Any]]:
        runs = {}
        for algorithm, params in ALGORITHMS.items():
            body = {"algorithm": algorithm, "params": params}
            answer = await api.command("POST", f"/models/{MODEL}/training-runs", body)
            runs[algorithm] = answer.body["command_id"]
        versions = []
        for algorithm, run_id in runs.items():
            with self.story.step(f"train {algorithm} on exact offset ranges") as step:
                run = await followed(api, run_id, wait_s=120)
                version = await self._version_of(api, run_id)
                versions.append(version)
                step.outcome = (
                    f"version {version['version']}, {run['dataset_rows']:,} rows, "
                    f"{QUALITY} {run['metrics'].get(QUALITY, 0):.4f}, artifact {run['artifact_sha256'][:12]}"
                )
        return versions

    async def _version_of(self, api: Api, run_id: str) -> dict[str, Any]:
        for _ in range(100):
            model = (await api.query(f"/models/{MODEL}")).body
            found = next((v for v in model["versions"] if v["run_id"] == run_id), None)
            if found:
                return dict(found)
            await asyncio.sleep(0.05)
        raise TimedOut(f"run {run_id} is complete, and no version of {MODEL} names it")

    async def _deploy(self, api: Api, version: dict[str, Any]) -> None:
        with self.story.step(f"deploy version {version['version']} ({version['algorithm']}) by saga") as step:
            body = {"version": version["version"], "artifact_sha256": version["artifact_sha256"]}
            answer = await api.command("POST", f"/models/{MODEL}/deployments", body)
            path = f"/deployments/{answer.body['command_id']}"
            deployment = await _until(api, path, "step", {"promoted", "completed", "rolled_back"}, wait_s=60)
            if deployment["step"] == "rolled_back":
                raise Problem(f"the deployment was rolled back: {deployment['reason']}")
            step.outcome = "requested → validated → loaded beside the old one → promoted"

    async def _recommend(self, api: Api, data: MovieLens, version: int) -> str:
        """Three answers; returns the decision behind the last."""
        titles = {film.item_id: film.title for film in data.items}
        with self.story.step(f"recommend for user {KNOWN_USER}, known for years") as step:
            known = await _served_by_model(api, KNOWN_USER, version)
            step.outcome = f"{known['source']} v{known['version']} in {known['latency_ms']:.1f} ms"
        self.story.console.print(_table(known, titles))
        guest = f"guest-{uuid7()}"
        with self.story.step("recommend for somebody brand-new") as step:
            registered = await api.command("POST", "/users", {"user_id": guest})
            await api.query(f"/users/{guest}", {"min-position": registered.position})
            new = (await api.recommend(guest, model=MODEL)).body
            step.outcome = f"{new['source']}, because {new['fallback_reason']}"
        self.story.console.print(_table(new, titles))
        with self.story.step("one interaction later") as step:
            started = time.perf_counter()
            interaction = {"user_id": guest, "item_id": "50", "kind": "rate", "value": 5.0, "occurred_at": _now()}
            await api.command("POST", "/interactions", interaction)
            changed = await _served_by_model(api, guest, version)
            elapsed_ms = (time.perf_counter() - started) * 1000
            step.outcome = f"{titles['50']} changed the answer {elapsed_ms:.0f} ms after it was sent"
        self.story.console.print(_table(changed, titles))
        return str(changed["decision_id"])

    async def _explain(self, decision_id: str) -> None:
        with self.story.step("explain that answer: make it again from the log") as step:
            explanation = await _explained(self.settings, decision_id)
            if not explanation.identical:
                raise Problem(f"decision {decision_id} could not be made again: {'; '.join(explanation.differences)}")
            step.outcome = "identical, item by item, score by score"
        show(explanation, self.story.console)

    async def _verify(self, version: dict[str, Any]) -> None:
        verification = await verify_run(self.settings, version["run_id"], self.story)
        if not verification.identical:
            self.story.console.print(verification.table())

    async def _look_around(self, api: Api) -> None:
        with self.story.step("search the catalogue for 'star wras'") as step:
            found = (await api.query("/items/search", {"q": "star wras", "limit": "3"})).body
            step.outcome = ", ".join(item["title"] for item in found["items"])
        with self.story.step("trending, from the stream processor") as step:
            trending = (await api.query("/trending", {"limit": "3"})).body
            step.outcome = ", ".join(item["title"] or item["item_id"] for item in trending)

    def _close(self) -> None:
        console = self.story.console
        console.print(self.story.closing_table())
        urls = Table.grid(padding=(0, 2))
        for name, http in (
            ("commands", self.settings.commands),
            ("queries", self.settings.queries),
            ("recommendations", self.settings.serving),
        ):
            urls.add_row(name, f"{http.url}/docs")
        urls.add_row("schema registry", f"{self.settings.registry.url}/subjects")
        console.print(Panel.fit(urls, title="still running; `retrace down` stops it"))


async def _count(api: Api, path: str) -> int:
    try:
        return len((await api.query(path, {"limit": "1"})).body["interactions"])
    except Problem as problem:
        if problem.status == 404:
            return 0
        raise


async def _explained(settings: Settings, decision_id: str) -> Explanation:
    """The explanation, as soon as the record of the decision is in the log."""
    decoder = await open_decoder(settings)
    for _ in range(100):
        try:
            return await explain(settings, decoder, decision_id)
        except NotFound:
            await asyncio.sleep(0.05)
    return await explain(settings, decoder, decision_id)


async def _until(api: Api, path: str, field: str, wanted: set[str], *, wait_s: float) -> dict[str, Any]:
    """Ask until `field` of the answer is one of `wanted`."""
    deadline = time.monotonic() + wait_s
    last: Any = None
    while time.monotonic() < deadline:
        try:
            last = (await api.query(path)).body
        except Problem as problem:
            if problem.status != 404:
                raise
        if last and last[field] in wanted:
            return dict(last)
        await asyncio.sleep(0.1)
    raise TimedOut(f"{path} is still {last and last[field]!r} after {wait_s:.0f} s; `retrace logs` tells why")


async def _served_by_model(api: Api, user_id: str, version: int) -> dict[str, Any]:
    """Ask until this version of the model answers, for as long as freshness allows."""
    answer: Answer = await api.recommend(user_id, model=MODEL)
    for _ in range(100):
        if answer.body["version"] == version:
            break
        await asyncio.sleep(0.02)
        answer = await api.recommend(user_id, model=MODEL)
    return dict(answer.body)


def _table(decision: dict[str, Any], titles: dict[str, str]) -> Table:
    table = Table(show_header=False)
    for rank, item in enumerate(decision["items"][:SHOWN], start=1):
        table.add_row(str(rank), titles.get(item["item_id"], item["item_id"]), f"{item['score']:.3f}")
    return table


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
