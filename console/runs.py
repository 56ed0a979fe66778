"""`retrace runs list | show | follow | cancel | retry`: training runs, from waiting to their end."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from console.api import Api
from console.output import OutputOption, as_json, grid
from infra.settings import Settings
from schemas.errors import NotFound, Problem, TimedOut

POLL_S = 0.2
COLOURS = {"completed": "green", "failed": "red", "cancelled": "yellow"}
ENDED = tuple(COLOURS)
STATUSES = ("requested", "queued", "started", *ENDED)

Json = dict[str, Any]
RunId = Annotated[str, typer.Argument(help="id of the run, as `retrace runs list` shows it")]
OfModel = Annotated[str | None, typer.Option("--model", help="of this model; to be said where ids repeat")]
Reason = Annotated[str, typer.Option(help="why; stands in the log")]

console = Console(highlight=False)

aside = Console(stderr=True, highlight=False)
app = typer.Typer(no_args_is_help=True, help="Training runs: list, show, follow, cancel, retry.")


@app.command(name="list")
def listed(
    model: Annotated[str | None, typer.Option(help="only of this model")] = None,
    status: Annotated[str | None, typer.Option(help=f"only these: {', '.join(STATUSES)}")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="how many at most")] = 20,
    output: OutputOption = "table",
) -> None:
    """Training runs, the newest first: how far each is, and which are to begin before those that wait."""
    runs = asyncio.run(_listed(model, status, limit))
    if output == "json":
        _print_json(runs)
    else:
        console.print(_list_table(runs))


@app.command()
def show(run_id: RunId, model: OfModel = None, output: OutputOption = "table") -> None:
    """One run: its data, its progress, its result, what it has used, and every step of it."""
    run, steps = asyncio.run(_shown(run_id, model))
    if output == "json":
        _print_json({**run, "steps": steps})
        return
    for table in (_facts(run), _ranges(run["ranges"]), _steps(steps)):
        console.print(table)


@app.command()
def follow(run_id: RunId, model: OfModel = None, output: OutputOption = "table") -> None:
    """Show how far a run is until it ends; exit status 0 when it completes."""
    run = asyncio.run(_follow(run_id, model))
    if output == "json":
        _print_json(run)
    else:
        console.print(_facts(run))
    raise typer.Exit(0 if run["status"] == "completed" else 1)


@app.command()
def cancel(run_id: RunId, model: OfModel = None, reason: Reason = "", output: OutputOption = "table") -> None:
    """End a run that has not ended; it registers no version."""
    _tell(asyncio.run(_command(run_id, model, "cancel", reason)), f"run {run_id} is cancelled", output)


@app.command()
def retry(
    run_id: RunId,
    model: OfModel = None,
    reason: Reason = "",
    wait: Annotated[bool, typer.Option(help="follow the run until it ends")] = False,
    output: OutputOption = "table",
) -> None:
    """Try a failed or cancelled run again, on the part of the log that it had fixed."""
    _tell(asyncio.run(_command(run_id, model, "retry", reason)), f"run {run_id} is asked for again", output)
    if wait:
        follow(run_id, model, output)


async def _listed(model: str | None, status: str | None, limit: int) -> list[Json]:
    async with Api(Settings()) as api:
        return await all_runs(api, model, status, limit)


async def _shown(run_id: str, model: str | None) -> tuple[Json, list[Json]]:
    async with Api(Settings()) as api:
        return await story(api, run_id, model)


async def all_runs(api: Api, model: str | None, status: str | None, limit: int) -> list[Json]:
    """The newest runs, of a model or with a status if one is given."""
    given = {"model": model, "status": status, "limit": str(limit)}
    return list((await api.query("/training-runs", {k: v for k, v in given.items() if v is not None})).body)


async def story(api: Api, run_id: str, model: str | None = None) -> tuple[Json, list[Json]]:
    """A run and all its steps.

    Raises:
        NotFound: there is no such run.
    """
    run = await known(api, run_id, model)
    return run, list((await api.query(f"/training-runs/{run_id}/steps", _of(run["model"]))).body)


async def _follow(run_id: str, model: str | None) -> Json:
    last: Json = {}
    async with Api(Settings()) as api:
        shown = ""
        async for run in followed(api, run_id, model):
            if (text := said(run)) != shown:
                aside.print(text, end="\r" if aside.is_terminal else "\n", soft_wrap=True)
                shown = text
            last = run
    if aside.is_terminal:
        sys.stderr.write("\n")
    return last


async def _command(run_id: str, model: str | None, verb: str, reason: str) -> Json:
    async with Api(Settings()) as api:
        return await order(api, (await known(api, run_id, model))["model"], run_id, verb, reason)


async def order(api: Api, model: str, run_id: str, verb: str, reason: str = "", key: str | None = None) -> Json:
    """Cancel a run, or try it again.

    Raises:
        Problem: the service refused, because there is no such run or it is past that.
    """
    path = f"/models/{model}/training-runs/{run_id}/{verb}"
    return dict((await api.command("POST", path, {"reason": reason} if reason else {}, key=key)).body)


async def known(api: Api, run_id: str, model: str | None = None) -> Json:
    """A run as the read model has it.

    Raises:
        NotFound: it has none.
    """
    run = await asked(api, run_id, model)
    if run is None:
        raise NotFound(f"there is no training run '{run_id}'; `retrace runs list` shows them", code="unknown_run")
    return run


async def asked(api: Api, run_id: str, model: str | None = None) -> Json | None:
    """A run as the read model has it; None while it has not."""
    try:
        return dict((await api.query(f"/training-runs/{run_id}", _of(model))).body)
    except Problem as problem:
        if problem.status != NotFound.status:
            raise
        return None


async def followed(
    api: Api, run_id: str, model: str | None = None, *, wait_s: float | None = None, unknown_s: float = 5
) -> AsyncIterator[Json]:
    """The run as it goes on, the last time when it has ended.

    Args:
        wait_s: how long at most.
        unknown_s: how long nobody may know it: the read model is a moment behind the command.

    Raises:
        NotFound: there is no such run.
        TimedOut: it has not ended.
    """
    began = time.monotonic()
    while wait_s is None or time.monotonic() - began < wait_s:
        run = await asked(api, run_id, model)
        if run is not None:
            yield run
            if run["status"] in ENDED:
                return
        elif time.monotonic() - began > unknown_s:
            raise NotFound(f"there is no training run '{run_id}'; `retrace runs list` shows them", code="unknown_run")
        await asyncio.sleep(POLL_S)
    raise TimedOut(f"run {run_id} has not ended after {wait_s:.0f} s; `retrace runs show {run_id}` tells where it is")


def said(run: Json) -> str:
    """How far a run is, in a line."""
    match run["status"]:
        case "requested" | "queued":
            behind = f", {run['ahead']} before it" if run["ahead"] else ""
            return f"run {run['run_id']} waits{behind}: {run['waits_for'] or 'for a trainer'}"
        case "started":
            left = f", about {run['eta_s']:.0f} s left" if run["eta_s"] is not None else ""
            of = f" ({run['done']:,} of {run['total']:,})" if run["total"] else ""
            return f"run {run['run_id']}: {run['step'] or 'begins'}{of}, {run['percent'] or 0:.0f} %{left}"
        case status:
            why = f": {run['reason']}" if run["reason"] else ""
            return f"run {run['run_id']} has {'been cancelled' if status == 'cancelled' else status}{why}"


def _of(model: str | None) -> dict[str, str]:
    return {} if model is None else {"model": model}


def _print_json(content: Any) -> None:
    typer.echo(as_json(content))


def _tell(answer: Json, text: str, output: str) -> None:
    if output == "json":
        _print_json(answer)
    else:
        console.print(f"{text} [dim]({answer['position']})[/]")


def _list_table(runs: Sequence[Json]) -> Table:
    """One row for each run; its id is whole at any width, because it is what the other commands take."""
    table = grid("run", "rows", "state", "model", "asked for", whole=("run", "rows"), numbers=("rows",))
    for run in runs:
        rows = "-" if run["dataset_rows"] is None else f"{run['dataset_rows']:,}"
        asked_at = str(run["requested_at"])[5:16].replace("T", " ")
        table.add_row(run["run_id"], rows, _state(run), f"{run['model']} {run['algorithm']}", asked_at)
    return table


def _state(run: Json) -> str:
    """How far a run is, or how it ended."""
    attempt = f", attempt {run['attempt']}" if run["attempt"] > 1 else ""
    if run["status"] in COLOURS:
        return f"[{COLOURS[run['status']]}]{run['status']}[/]{attempt}"
    if run["ahead"] is not None:
        return f"{run['ahead']} before it{attempt}"
    return f"{run['percent'] or 0:.0f} % {run['step'] or 'begins'}{attempt}"


def _facts(run: Json) -> Table:
    table = Table(show_header=False, box=None, title=said(run), title_justify="left")
    rows = {
        "model": run["model"],
        "algorithm": f"{run['algorithm']} {run['params'] or ''}, {run['k']} items per answer",
        "asked for": f"by {run['requested_by']} at {run['requested_at']}",
        "attempt": f"{run['attempt']}, on {run['worker'] or '-'}",
        "dataset": _dataset(run),
        "artifact": run["artifact_sha256"] or "-",
        "metrics": ", ".join(f"{n} {v:.4f}" for n, v in sorted(run["metrics"].items()) if "." not in n) or "-",
        "used": _used(run["resources"]),
    }
    for name, value in rows.items():
        table.add_row(name, str(value))
    return table


def _dataset(run: Json) -> str:
    if run["dataset_sha256"] is None:
        return "-"
    left = run["dataset"] or {}
    out = [f"{left[name]:,} {name}" for name in ("silent", "withdrawn", "erased") if left.get(name)]
    return ", ".join([f"{run['dataset_sha256']}: {run['dataset_rows']:,} rows, {run['duplicates']:,} repeated", *out])


def _used(used: Json | None) -> str:
    if used is None:
        return "-"
    read = f", {used['bytes_read'] / 1e6:,.1f} MB read" if used["bytes_read"] else ""
    gpu = f", on {used['gpu']}" if used["gpu"] else ""
    memory = f"{used['peak_memory_bytes'] / 1e6:,.0f} MB of memory at most"
    return f"{used['cpu_s']:.1f} s of processor in {used['wall_s']:.1f} s, {memory}{read}{gpu}"


def _ranges(ranges: Sequence[Json]) -> Table:
    columns = ("topic", "partition", "first", "end", "offsets")
    table = grid(*columns, title="what it reads", numbers=columns[1:])
    for one in ranges:
        numbers = (one["partition"], one["first"], one["end"], one["end"] - one["first"])
        table.add_row(one["topic"], *(f"{number:,}" for number in numbers))
    return table


def _steps(steps: Sequence[Json]) -> Table:
    table = grid("at", "attempt", "step", "by", "what", "position", title="what happened", whole=("at", "position"))
    for step in steps:
        attempt = "-" if step["attempt"] is None else str(step["attempt"])
        table.add_row(step["at"][11:23], attempt, step["name"], step["actor"], _what(step["details"]), step["position"])
    return table


def _what(details: Json) -> str:
    hidden = ("ranges", "metrics", "params")
    shown = {name: value for name, value in details.items() if name not in hidden and value not in ("", None)}
    return ", ".join(f"{name} {value}" for name, value in shown.items())
