"""`retrace train`: ask for a training run and follow it, or make an old one again and compare."""

import asyncio
import time
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from console.api import Api
from console.story import Story
from inference.fitting import Fitted, fit_on_log
from inference.runs import NO_RUNS, Run, evolve
from inference.store import digest
from infra.kafka.ranges import ranges_now
from infra.kafka.replay import Progress, recorded
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.errors import Invalid, NotFound, Problem, TimedOut
from schemas.models import TrainingCompleted

POLL_S = 0.1

console = Console()


def train(
    model: Annotated[str | None, typer.Argument(help="model that the new version belongs to")] = None,
    algorithm: Annotated[str, typer.Option(help="declaration in inference/models that fits it")] = "ease",
    param: Annotated[list[str] | None, typer.Option(help="hyper-parameter, NAME=VALUE; may be repeated")] = None,
    k: Annotated[int, typer.Option(help="items per answer, fixed in the artifact")] = 100,
    wait: Annotated[bool, typer.Option(help="follow the run until it ends")] = True,
    from_run: Annotated[str | None, typer.Option(help="make this run again")] = None,
    verify: Annotated[bool, typer.Option(help="with --from-run: compare hashes and metrics, register nothing")] = False,
) -> None:
    """Train a version of a model on the log; or verify that an earlier run gives the same again."""
    settings = Settings()
    if from_run is not None and verify:
        verification = asyncio.run(verify_run(settings, from_run, Story(console)))
        console.print(verification.table())
        raise typer.Exit(0 if verification.identical else 1)
    if from_run is not None or verify:
        raise Invalid("--from-run and --verify go together: retrace train --from-run RUN --verify")
    if model is None:
        raise Invalid("name the model: retrace train MODEL --algorithm ease")
    asyncio.run(_train(settings, model, algorithm, _pairs(param or []), k, wait))


@dataclass(frozen=True)
class Verification:
    """What an earlier run said, beside what making it again gave; each a dataset, an artifact, metrics and rows.

    Attributes:
        erased_since: interactions that are left out now because their users have been erased since the run began.
    """

    run_id: str
    recorded: dict[str, Any]
    rebuilt: dict[str, Any]
    erased_since: int = 0

    @property
    def identical(self) -> bool:
        """Whether everything is the same."""
        return self.recorded == self.rebuilt

    @property
    def verdict(self) -> str:
        """What is to be said of it, in a sentence."""
        if self.identical:
            return "[green]identical[/]"
        if self.erased_since:
            return (
                f"[yellow]cannot be made again[/]: {self.erased_since:,} of its interactions are of people who have "
                "been erased since, and are not used any more"
            )
        return "[red]NOT identical[/]"

    def table(self) -> Table:
        """Side by side."""
        verdict = self.verdict
        table = Table("", "recorded", "made again", "same", title=f"run {self.run_id}: {verdict}", title_justify="left")
        for name, was in self.recorded.items():
            now = self.rebuilt.get(name)
            table.add_row(name, str(was), str(now), "yes" if was == now else "[red]no[/]")
        return table


async def verify_run(settings: Settings, run_id: str, story: Story) -> Verification:
    """Replay the exact ranges of a completed run, fit again and compare dataset, artifact and metrics.

    Raises:
        NotFound: the log has no such run.
        Invalid: the run has not completed, or its part of the log is no longer there.
        Incompatible, Unavailable: the log cannot be read.
    """
    decoder = await open_decoder(settings)
    run = await find_run(settings, run_id)
    if not isinstance(run.outcome, TrainingCompleted) or run.ranges is None:
        raise Invalid(f"run {run_id} has not completed, so there is nothing to compare with", code="run_not_completed")
    with story.step(f"replay {len(run.ranges)} offset ranges and fit {run.algorithm} again") as step:
        step.total(sum(part.end - part.first for part in run.ranges))
        seen = 0

        def report(progress: Progress) -> None:
            nonlocal seen
            step.advance(progress.done - seen)
            seen = progress.done

        fitted = await fit_on_log(settings, decoder, run.ranges, run.algorithm, run.params, run.k, report)
        verification = _compared(run_id, run.outcome, fitted)
        step.outcome = f"{fitted.dataset.manifest.rows:,} rows, {verification.verdict}"
    return verification


def _compared(run_id: str, was: TrainingCompleted, now: Fitted) -> Verification:
    manifest = now.dataset.manifest
    rebuilt = _facts(manifest.sha256, manifest.rows, manifest.duplicates, digest(now.artifact), now.metrics)
    claimed = _facts(was.dataset_sha256, was.dataset_rows, was.duplicates, was.artifact_sha256, was.metrics)
    return Verification(run_id, claimed, rebuilt, manifest.erased_since)


def _facts(dataset: str, rows: int, duplicates: int, artifact: str, metrics: Any) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "rows": rows,
        "duplicates": duplicates,
        "artifact": artifact,
        **{name: float(value) for name, value in sorted(metrics.items())},
    }


async def find_run(settings: Settings, run_id: str) -> Run:
    """A run, as the log itself tells of it.

    Raises:
        NotFound: the log has no such run.
        Incompatible, Unavailable: the log cannot be read.
    """
    decoder = await open_decoder(settings)
    runs = NO_RUNS
    async for one in recorded(settings, decoder, await ranges_now(settings, ["models"])):
        runs = evolve(runs, one.event, one.meta)
    if run_id not in runs:
        raise NotFound(f"the log has no training run '{run_id}'; `retrace models` lists them", code="unknown_run")
    return runs[run_id]


async def _train(settings: Settings, model: str, algorithm: str, params: dict[str, str], k: int, wait: bool) -> None:
    async with Api(settings, actor="console") as api:
        body = {"algorithm": algorithm, "params": params, "k": k}
        run_id = (await api.command("POST", f"/models/{model}/training-runs", body)).body["command_id"]
        if not wait:
            console.print(f"run {run_id} is asked for; `retrace models {model}` shows what comes of it")
            return
        story = Story(console)
        with story.step(f"run {run_id}: {algorithm}") as step:
            run = await followed(api, run_id)
            step.outcome = f"{run['dataset_rows']:,} rows, artifact {run['artifact_sha256'][:12]}"
        console.print(_metrics_table(run["metrics"]))


async def followed(api: Api, run_id: str, *, wait_s: float = 1800) -> dict[str, Any]:
    """A run when it has completed.

    Raises:
        Problem: it failed; the detail is the trainer's own.
        TimedOut: it has not ended.
    """
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        run = await _run_now(api, run_id)
        if run is not None and run["status"] == "failed":
            raise Problem(f"run {run_id} failed: {run['reason']}", code="training_failed")
        if run is not None and run["status"] == "completed":
            return run
        await asyncio.sleep(POLL_S)
    raise TimedOut(f"run {run_id} has not ended after {wait_s:.0f} s; `retrace logs trainer` tells why")


async def _run_now(api: Api, run_id: str) -> dict[str, Any] | None:
    try:
        return dict((await api.query(f"/training-runs/{run_id}")).body)
    except Problem as problem:
        if problem.status != 404:
            raise
        return None  # the read model is a moment behind the command


def _metrics_table(metrics: dict[str, float]) -> Table:
    table = Table("metric", "all", "new users", "returning users")
    for name in (name for name in sorted(metrics) if "." not in name):
        values = (metrics.get(key) for key in (name, f"{name}.new", f"{name}.returning"))
        table.add_row(name, *("-" if value is None else f"{value:.4f}" for value in values))
    return table


def _pairs(texts: list[str]) -> dict[str, str]:
    for text in texts:
        if "=" not in text:
            raise Invalid(f"--param takes NAME=VALUE, not '{text}'")
    return dict(text.split("=", 1) for text in texts)
