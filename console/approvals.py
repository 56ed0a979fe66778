"""`retrace approvals list | show | approve | decline | policy`: who lets a version serve, on what evidence."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from console.api import Api
from console.output import OutputOption, as_json, grid
from infra.settings import Settings
from schemas.errors import Invalid, Rejected
from schemas.evidence import evidence_sha256

SHORTEST_HASH = 8
"""So many characters of a hash name it: whoever types them has it before them."""

DAY_S = 86_400

Json = dict[str, Any]
DeploymentId = Annotated[str, typer.Argument(help="id of the deployment, as `retrace approvals list` shows it")]
Actor = Annotated[
    str | None, typer.Option(help="in whose name; only an admin's key may say so, others speak in their own")
]

console = Console(highlight=False)
app = typer.Typer(no_args_is_help=True, help="Approvals: what waits for them, what to look at, yes, no, and policies.")


@app.command(name="list")
def listed(output: OutputOption = "table") -> None:
    """Deployments that wait for approvals, those that are given up first before the others."""
    found = asyncio.run(_asked("/approvals"))
    if output == "json":
        typer.echo(as_json(found))
    elif not found:
        console.print("nothing waits for an approval")
    else:
        console.print(_list_table(found))


@app.command()
def show(deployment_id: DeploymentId, output: OutputOption = "table") -> None:
    """What is to be approved: the artifact, all that was found, who has approved it, and who may not."""
    found = asyncio.run(_asked(f"/deployments/{deployment_id}"))
    if output == "json":
        typer.echo(as_json(found))
        return
    _show(found)
    for line in _given(found):
        console.print(line, markup=False, soft_wrap=True)


@app.command()
def approve(
    deployment_id: DeploymentId,
    evidence: Annotated[
        str | None,
        typer.Option(help="hash of the evidence that you looked at, or its beginning; asked for when left out"),
    ] = None,
    comment: Annotated[str, typer.Option(help="what there is to say; stands in the log")] = "",
    actor: Actor = None,
) -> None:
    """Let a loaded version serve: of exactly the artifact, on exactly the evidence that `show` shows."""
    found = asyncio.run(_asked(f"/deployments/{deployment_id}"))
    if evidence is None:
        _show(found)
        typer.confirm("Approve this version on this evidence?", abort=True)
    body = {**_seen(found, evidence), "comment": comment}
    answer = asyncio.run(_told("POST", f"/models/{found['model']}/deployments/{deployment_id}/approve", body, actor))
    done = "approved" if answer["events"] else "had been approved by you before"
    console.print(f"deployment {deployment_id} {done}; `retrace approvals show {deployment_id}` tells what is lacking")


@app.command()
def decline(
    deployment_id: DeploymentId,
    reason: Annotated[str, typer.Option(help="why; stands in the log")],
    actor: Actor = None,
) -> None:
    """Refuse to let a version serve; it is taken back."""
    found = asyncio.run(_asked(f"/deployments/{deployment_id}"))
    path = f"/models/{found['model']}/deployments/{deployment_id}/decline"
    asyncio.run(_told("POST", path, {"reason": reason}, actor))
    console.print(f"deployment {deployment_id} is declined, and version {found['version']} taken back")


@app.command()
def policy(
    model: Annotated[str, typer.Argument(help="name of the model")],
    approvals: Annotated[
        int | None, typer.Option(min=0, max=16, help="how many people have to approve; 0: nobody")
    ] = None,
    requester: Annotated[
        bool, typer.Option("--requester-may-approve", help="whoever asks for a deployment counts among them")
    ] = False,
    days: Annotated[float, typer.Option(min=0.0001, max=365, help="how long a version waits for them")] = 7,
    reason: Annotated[str, typer.Option(help="why; stands in the log")] = "",
    actor: Actor = None,
    output: OutputOption = "table",
) -> None:
    """How many people have to approve a deployment of a model; with --approvals, from now on."""
    path = f"/models/{model}/approval-policy"
    if approvals is not None:
        timeout_s = max(1, round(days * DAY_S))
        body = {"approvals": approvals, "requester_may_approve": requester, "timeout_s": timeout_s, "reason": reason}
        found = asyncio.run(_set(path, body, actor))
    else:
        found = asyncio.run(_asked(path))
    console.print_json(as_json(found)) if output == "json" else console.print(_policy(found), soft_wrap=True)


async def _asked(path: str) -> Any:
    async with Api(Settings()) as api:
        return (await api.query(path)).body


async def _told(method: str, path: str, body: Json, actor: str | None) -> Json:
    async with Api(Settings(), actor=actor) as api:
        answer: Json = (await api.command(method, path, body)).body
        return answer


async def _set(path: str, body: Json, actor: str | None) -> Any:
    async with Api(Settings(), actor=actor) as api:
        told = await api.command("PUT", path, body)
    async with Api(Settings()) as api:
        return (await api.query(path, {"min-position": told.position} if told.position else {})).body


def _seen(found: Json, evidence: str | None) -> Json:
    """What an approval names: the artifact, and the evidence whose hash is computed here once more.

    Raises:
        Invalid: the hash that was given is too short to name anything.
        Rejected: nothing is to be approved, or the evidence is not what was looked at.
    """
    if not found["evidence_sha256"]:
        raise Rejected(
            f"deployment '{found['deployment_id']}' is {found['step']}: nothing is to be approved", code="not_asked"
        )
    if evidence is not None and len(evidence) < SHORTEST_HASH:
        raise Invalid(f"give at least {SHORTEST_HASH} characters of the hash of the evidence", code="short_hash")
    shown = {step: found["evidence"][step] for step in ("validated", "loaded")}
    if evidence_sha256(shown) != found["evidence_sha256"]:
        raise Rejected("the evidence that is shown has not the hash that is shown beside it", code="other_evidence")
    if evidence is not None and not found["evidence_sha256"].startswith(evidence):
        raise Rejected(
            f"the evidence has the hash {found['evidence_sha256']}, not {evidence}: look at it again with "
            f"`retrace approvals show {found['deployment_id']}`",
            code="other_evidence",
        )
    return {"artifact_sha256": found["artifact_sha256"], "evidence_sha256": found["evidence_sha256"]}


def _list_table(found: list[Json]) -> Table:
    numbers = ("version", "given", "wanted")
    table = grid(
        "deployment",
        "model",
        "version",
        "asked for by",
        "given",
        "wanted",
        "until",
        whole=("deployment",),
        numbers=numbers,
    )
    for one in found:
        given = (str(len(one["approvals"])), str(one["approvals_wanted"]), _time(one["approve_until"]))
        table.add_row(one["deployment_id"], one["model"], str(one["version"]), one["requested_by"] or "?", *given)
    return table


def _show(one: Json) -> None:
    """What there is to judge; the hashes stand on lines of their own, whole, to be copied."""
    console.print(_facts(one))
    for name in ("artifact", "evidence"):
        if one[f"{name}_sha256"]:
            console.print(f"{name} {one[f'{name}_sha256']}", soft_wrap=True)


def _facts(one: Json) -> Table:
    table = grid("", "", title=f"deployment {one['deployment_id']}: {one['model']} version {one['version']}")
    own = "counts" if one["requester_may_approve"] else "does not count"
    table.add_row("stands at", one["step"].replace("_", " "))
    table.add_row(
        "asked for by",
        f"{one['requested_by']}, whose own approval {own}" if one["approvals_wanted"] else one["requested_by"],
    )
    table.add_row("approvals", f"{len(one['approvals'])} of {one['approvals_wanted'] or 0} wanted")
    if one["approve_until"]:
        table.add_row("given up", _time(one["approve_until"]))
    for step in ("validated", "loaded"):
        for name, value in one["evidence"].get(step, {}).items():
            table.add_row(f"{step}: {name}", value)
    return table


def _given(one: Json) -> Iterator[str]:
    for approval in one["approvals"]:
        said = f": {approval['comment']}" if approval["comment"] else ""
        yield f"approved by {approval['approver']}, {_time(approval['at'])}{said} ({approval['position']})"
    if one["declined_by"]:
        yield f"declined by {one['declined_by']}: {one['reason']}"


def _policy(one: Json) -> str:
    if not one["approvals"]:
        needs = "no approval"
    else:
        own = "the one who asks among them" if one["requester_may_approve"] else "never the one who asks"
        waits = str(timedelta(seconds=one["timeout_s"])).removesuffix(", 0:00:00")
        people = (
            "1 approval of one person" if one["approvals"] == 1 else f"{one['approvals']} approvals of different people"
        )
        needs = f"{people}, {own}, within {waits}"
    who = f"set by {one['set_by']}, {_time(one['set_at'])}" if one["set_by"] else "nobody has set a policy"
    why = f": {one['reason']}" if one["reason"] else ""
    return f"a deployment of {one['model']} needs {needs} ({who}{why})"


def _time(time: str | None) -> str:
    return str(time)[:19].replace("T", " ") if time else "-"
