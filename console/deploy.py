"""`retrace deploy`, `models`, `recommend`: versions of models, which one serves, and what it answers."""

import asyncio
import time
from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from console.api import Api
from console.output import grid
from infra.settings import Settings
from schemas.errors import NotFound, Problem, TimedOut

POLL_S = 0.1
WAIT_S = 600.0
GOOD_STEPS = ("requested", "validated", "loaded", "awaiting_approval", "approved", "promoted", "completed")
APPROVAL_STEPS = ("awaiting_approval", "approved")
"""Steps of those deployments alone whose policy asks for approvals."""
LAST_STEPS = ("completed", "rolled_back")

Json = dict[str, Any]

console = Console(highlight=False)
SHOWN_METRICS = ("ndcg@10", "recall@10")
"""Metrics of the overview; the query API has them all, by segment too."""


def deploy(
    model: Annotated[str, typer.Argument(help="name of the model")],
    version: Annotated[int | None, typer.Argument(help="which version; the newest when left out")] = None,
    wait: Annotated[bool, typer.Option(help="follow the deployment to its end")] = True,
    actor: Annotated[str | None, typer.Option(help="in whose name; only an admin's key may say so")] = None,
) -> None:
    """Let a version of a model serve: checked, loaded beside the old one, promoted, or taken back."""
    if not asyncio.run(_deploy(model, version, wait, actor)):
        raise typer.Exit(1)


def models(
    model: Annotated[str | None, typer.Argument(help="one model; all when left out")] = None,
    as_of: Annotated[
        str | None, typer.Option(help="as it was then: a time such as 2026-11-21T10:00:00Z, or a position of the log")
    ] = None,
) -> None:
    """The registered versions with their main metrics, and which one serves; now, or as the log has it of a moment."""
    for one in asyncio.run(_models(model, as_of)):
        console.print(_versions(one))


def recommend(
    user: Annotated[str, typer.Argument(help="id of the user")],
    limit: Annotated[int, typer.Option(help="items wanted")] = 10,
    model: Annotated[str | None, typer.Option(help="which model; the default one when left out")] = None,
) -> None:
    """What a user is recommended now, and under which decision it is on record."""
    decision = asyncio.run(_recommend(user, limit, model))
    console.print(_answer(decision))
    console.print(f"[dim]on record: retrace explain {decision['decision_id']}[/]", soft_wrap=True)


async def _deploy(model: str, version: int | None, wait: bool, actor: str | None) -> bool:
    async with Api(Settings(), actor=actor) as api:
        chosen = _chosen((await api.query(f"/models/{model}")).body, version)
        body = {"version": chosen["version"], "artifact_sha256": chosen["artifact_sha256"]}
        answer = await api.command("POST", f"/models/{model}/deployments", body)
        deployment_id = answer.body["command_id"]
        console.print(f"deployment [bold]{deployment_id}[/] of {model} version {chosen['version']}")
        return not wait or await _follow(api, deployment_id)


def _chosen(found: Json, version: int | None) -> Json:
    """The wanted version of a model, or its newest that may be deployed.

    Raises:
        NotFound: there is none.
    """
    versions: list[Json] = found["versions"]
    for one in versions:
        if one["version"] == version or (version is None and not one["retired"]):
            return one
    known = ", ".join(str(one["version"]) for one in versions) or "none"
    raise NotFound(f"{found['model']} has no version {version or 'to deploy'}; it has {known}", code="unknown_version")


async def _follow(api: Api, deployment_id: str) -> bool:
    """Show each step as it is reached; whether the version serves at the end.

    Raises:
        TimedOut: it takes too long; the deployment goes on.
    """
    started = time.monotonic()
    shown: set[str] = set()
    deployment: Json | None = None
    with console.status("waiting for the deployer") as status:
        while time.monotonic() - started < WAIT_S:
            deployment = await _deployment(api, deployment_id)
            if deployment is not None:
                _show(deployment, shown, time.monotonic() - started)
                if deployment["step"] in LAST_STEPS:
                    return bool(deployment["step"] == "completed")
                status.update(_waits_for(deployment))
            await asyncio.sleep(POLL_S)
    tells = "`retrace logs deployer` tells what it waits for" if deployment is None else _waits_for(deployment)
    raise TimedOut(f"deployment {deployment_id} goes on: {tells}")


def _waits_for(deployment: Json) -> str:
    if deployment["step"] != "awaiting_approval":
        return f"{deployment['step']}, and `retrace logs deployer` tells what it waits for"
    lacking = deployment["approvals_wanted"] - len(deployment["approvals"])
    more = f"{lacking} approval{'' if lacking == 1 else 's'} until {str(deployment['approve_until'])[:19]}"
    return f"it waits for {more}: `retrace approvals show {deployment['deployment_id']}`"


async def _deployment(api: Api, deployment_id: str) -> Json | None:
    try:
        found: Json = (await api.query(f"/deployments/{deployment_id}")).body
    except Problem as problem:
        if problem.status != 404:
            raise
        return None  # not folded yet
    return found


def _show(deployment: Json, shown: set[str], elapsed_s: float) -> None:
    """Print the steps that have not been shown."""
    for step in _passed(deployment):
        if step in shown:
            continue
        shown.add(step)
        mark = "[green]✓[/]" if step in GOOD_STEPS else "[red]✗[/]"
        console.print(f"{mark} {step.replace('_', ' '):<17} [dim]{elapsed_s:6.1f} s[/]{_why(deployment, step)}")
        for name, value in deployment["evidence"].get(step, {}).items():
            console.print(f"    [dim]{name}[/] {value}")


def _why(deployment: Json, step: str) -> str:
    """What there is to say about a step in its line."""
    match step:
        case "aborted":
            return f"  {escape(deployment['reason'] or '')}"
        case "awaiting_approval":
            id, lacking = deployment["deployment_id"], deployment["approvals_wanted"]
            return f"  {lacking} wanted: retrace approvals show {id}"
        case "approved":
            return "  by " + escape(", ".join(one["approver"] for one in deployment["approvals"]))
        case _:
            return ""


def _passed(deployment: Json) -> Iterable[str]:
    """The steps up to where a deployment stands."""
    step = deployment["step"]
    way = [one for one in GOOD_STEPS if deployment["approvals_wanted"] or one not in APPROVAL_STEPS]
    if step in way:
        return way[: way.index(step) + 1]
    done = [good for good in way if good == "requested" or _was_at(deployment, good)]
    reached = [good for good in done if good != "completed"]
    return [*reached, "aborted", *(["rolled_back"] if step == "rolled_back" else [])]


def _was_at(deployment: Json, step: str) -> bool:
    """Whether a deployment that was given up had come to a step."""
    match step:
        case "awaiting_approval":
            return bool(deployment["evidence_sha256"])
        case "approved":
            return bool(len(deployment["approvals"]) >= deployment["approvals_wanted"])
        case _:
            return step in deployment["evidence"]


async def _models(model: str | None, as_of: str | None = None) -> list[Json]:
    then = {} if as_of is None else {"as-of": as_of}
    async with Api(Settings()) as api:
        names = [model] if model else [one["model"] for one in (await api.query("/models", then)).body]
        return [await _model(api, name, then) for name in names]


async def _model(api: Api, name: str, then: dict[str, str]) -> Json:
    """A model, with the deployment that brought what serves, and what the answer speaks for."""
    answer = await api.query(f"/models/{name}", then)
    found: Json = answer.body
    live = found["live"]
    brought = (await api.query(f"/deployments/{live['deployment_id']}", then)).body if live else None
    return {**found, "brought": brought, "position": answer.position if then else ""}


def _versions(model: Json) -> Table:
    live = (model["live"] or {}).get("version")
    table = grid("", "version", "algorithm", *SHOWN_METRICS, "artifact", "registered", title=model["model"])
    table.caption = _caption(model)
    for one in model["versions"]:
        mark = "[green]live[/]" if one["version"] == live else "retired" if one["retired"] else ""
        values = [f"{one['metrics'][name]:.4g}" if name in one["metrics"] else "" for name in SHOWN_METRICS]
        known = (one["artifact_sha256"][:8], str(one["registered_at"])[:16])
        table.add_row(mark, str(one["version"]), one["algorithm"], *values, *known)
    return table


def _caption(model: Json) -> str:
    """Who brought what serves, and which part of the log says so."""
    live, brought = model["live"], model["brought"]
    served = (
        f"version {live['version']} serves since {str(live['since'])[:19]}, deployment {live['deployment_id']} "
        f"asked for by {(brought or {}).get('requested_by') or 'nobody known'}{_approved(brought or {})}"
        if live
        else "no version serves"
    )
    return f"{served}; as of {model['position']}" if model["position"] else served


def _approved(brought: Json) -> str:
    names = ", ".join(one["approver"] for one in brought.get("approvals", ()))
    return f", approved by {names}" if names else ""


async def _recommend(user: str, limit: int, model: str | None) -> Json:
    settings = Settings()
    async with Api(settings) as api:
        answer = await api.recommend(user, model=model or settings.recommend.default_model, limit=limit)
    decision: Json = answer.body
    return decision


def _answer(decision: Json) -> Table:
    why = f" ({decision['fallback_reason']})" if decision["fallback_reason"] else ""
    version = f" version {decision['version']}" if decision["version"] else ""
    made = f"{decision['source']}{why}, {decision['model']}{version}, {decision['latency_ms']:.1f} ms"
    table = grid("", "item", "title", "score", title=f"for {decision['user_id']}: {made}")
    for rank, item in enumerate(decision["items"], start=1):
        table.add_row(str(rank), item["item_id"], item["title"] or "", f"{item['score']:.4f}")
    return table
