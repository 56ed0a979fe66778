"""`retrace train`: ask for a training run and follow it, or make an old one again and compare."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from console import runs
from console.api import Api
from console.output import OutputOption, as_json
from console.story import Story
from inference.store import ArtifactStore, digest
from inference.training.fitting import Fitted, fit_on_log
from inference.training.runs import NO_RUNS, Run, evolve
from inference.training.told import Progressed, Telling
from infra.kafka.ranges import ranges_now
from infra.kafka.replay import recorded
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.errors import Incompatible, Invalid, NotFound, Problem
from schemas.models import TrainingCompleted

console = Console()
aside = Console(stderr=True)


def train(
    model: Annotated[str | None, typer.Argument(help="model that the new version belongs to")] = None,
    algorithm: Annotated[str, typer.Option(help="declaration in inference/models that fits it")] = "ease",
    param: Annotated[list[str] | None, typer.Option(help="hyper-parameter, NAME=VALUE; may be repeated")] = None,
    k: Annotated[int, typer.Option(help="items per answer, fixed in the artifact")] = 100,
    wait: Annotated[bool, typer.Option(help="follow the run until it ends")] = True,
    from_run: Annotated[str | None, typer.Option(help="make this run again")] = None,
    verify: Annotated[bool, typer.Option(help="with --from-run: compare hashes and metrics, register nothing")] = False,
    output: OutputOption = "table",
) -> None:
    """Train a version of a model on the log; or verify that an earlier run gives the same again."""
    settings = Settings()
    if from_run is not None and verify:
        verification = asyncio.run(verify_run(settings, from_run, Story(aside if output == "json" else console), model))
        if output == "json":
            typer.echo(as_json(verification.as_dict()))
        else:
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
        stored: what is wrong with the artifact in the store; nothing when it is there as it was.
    """

    run_id: str
    recorded: dict[str, Any]
    rebuilt: dict[str, Any]
    erased_since: int = 0
    stored: str = ""

    @property
    def identical(self) -> bool:
        """Whether everything is the same."""
        return self.recorded == self.rebuilt and not self.stored

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
        if self.recorded == self.rebuilt:
            return f"[yellow]made again identically, and the store is not right[/]: {self.stored}"
        differ = [name for name, was in self.recorded.items() if self.rebuilt.get(name) != was]
        return f"[red]NOT identical[/]: {', '.join(differ)}" + (f"; {self.stored}" if self.stored else "")

    def as_dict(self) -> dict[str, Any]:
        """As plain values, for programs."""
        verdict = Text.from_markup(self.verdict).plain
        return {**asdict(self), "identical": self.identical, "verdict": verdict}

    def table(self) -> Table:
        """Side by side."""
        verdict = self.verdict
        table = Table("", "recorded", "made again", "same", title=f"run {self.run_id}: {verdict}", title_justify="left")
        for name, was in self.recorded.items():
            now = self.rebuilt.get(name)
            table.add_row(name, str(was), str(now), "yes" if was == now else "[red]no[/]")
        return table


async def verify_run(settings: Settings, run_id: str, story: Story, model: str | None = None) -> Verification:
    """Replay the exact ranges of a completed run, fit again and compare dataset, artifact and metrics.

    The artifact in the store is looked at as well.

    Raises:
        NotFound: the log has no such run.
        Invalid: the run has not completed, or its part of the log is no longer there.
        Incompatible, Unavailable: the log cannot be read.
    """
    decoder = await open_decoder(settings)
    run = await find_run(settings, run_id, model)
    if not isinstance(run.outcome, TrainingCompleted) or run.ranges is None:
        raise Invalid(f"run {run_id} has not completed, so there is nothing to compare with", code="run_not_completed")
    with story.step(f"replay {len(run.ranges)} offset ranges and fit {run.algorithm} again") as step:
        step.total(sum(part.end - part.first for part in run.ranges))
        seen = 0

        def tell(telling: Telling) -> None:
            nonlocal seen
            if isinstance(telling, Progressed) and telling.step == "reading":
                step.advance(telling.done - seen)
                seen = telling.done

        fitted = await fit_on_log(settings, decoder, run.ranges, run.algorithm, run.params, run.k, tell)
        stored = await asyncio.to_thread(_stored, settings, run.outcome.artifact_sha256)
        verification = _compared(run_id, run.outcome, fitted, stored)
        step.outcome = f"{fitted.dataset.manifest.rows:,} rows, {verification.verdict}"
    return verification


def _stored(settings: Settings, sha256: str) -> str:
    """What is wrong with an artifact in the store, in a sentence; nothing when it is right."""
    try:
        ArtifactStore(settings).get(sha256)
    except (NotFound, Incompatible) as problem:
        return problem.detail
    return ""


def _compared(run_id: str, was: TrainingCompleted, now: Fitted, stored: str) -> Verification:
    manifest = now.dataset.manifest
    rebuilt = _facts(manifest.sha256, manifest.rows, manifest.duplicates, digest(now.artifact), now.metrics)
    claimed = _facts(was.dataset_sha256, was.dataset_rows, was.duplicates, was.artifact_sha256, was.metrics)
    return Verification(run_id, claimed, rebuilt, manifest.erased_since, stored)


def _facts(dataset: str, rows: int, duplicates: int, artifact: str, metrics: Any) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "rows": rows,
        "duplicates": duplicates,
        "artifact": artifact,
        **{name: float(value) for name, value in sorted(metrics.items())},
    }


async def find_run(settings: Settings, run_id: str, model: str | None = None) -> Run:
    """A run, as the log itself tells of it.

    Raises:
        NotFound: the log has no such run.
        Invalid: several models have a run of this id, and none was named.
        Incompatible, Unavailable: the log cannot be read.
    """
    decoder = await open_decoder(settings)
    known = NO_RUNS
    async for one in recorded(settings, decoder, await ranges_now(settings, ["models"])):
        known = evolve(known, one.event, one.meta)
    found = [run for run in known.values() if run.run_id == run_id and model in (None, run.model)]
    if not found:
        raise NotFound(f"the log has no training run '{run_id}'; `retrace runs list` shows them", code="unknown_run")
    if len(found) > 1:
        named = ", ".join(run.model for run in found)
        raise Invalid(f"'{run_id}' is a run of {named}: name the model as well", code="ambiguous_run")
    return found[0]


async def _train(settings: Settings, model: str, algorithm: str, params: dict[str, str], k: int, wait: bool) -> None:
    async with Api(settings) as api:
        body = {"algorithm": algorithm, "params": params, "k": k}
        run_id = (await api.command("POST", f"/models/{model}/training-runs", body)).body["command_id"]
        if not wait:
            console.print(f"run {run_id} is asked for; `retrace models {model}` shows what comes of it")
            return
        story = Story(console)
        with story.step(f"run {run_id}: {algorithm}") as step:
            run = await followed(api, run_id, tell=step.tell)
            step.outcome = f"{run['dataset_rows']:,} rows, artifact {run['artifact_sha256'][:12]}"
        console.print(_metrics_table(run["metrics"]))


async def followed(
    api: Api, run_id: str, *, wait_s: float = 1800, tell: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """A run when it has completed.

    Args:
        tell: hears how far it is.

    Raises:
        Problem: it failed or was cancelled; the detail is the trainer's own, or the reason that was given.
        NotFound: there is no such run.
        TimedOut: it has not ended.
    """
    run: dict[str, Any] = {}
    async for run in runs.followed(api, run_id, wait_s=wait_s):
        if tell is not None:
            tell(runs.said(run))
    if run["status"] != "completed":
        raise Problem(runs.said(run), code=f"training_{run['status']}")
    return run


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
