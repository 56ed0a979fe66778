"""`retrace dead-letters`: what readers could not take, why, and trying it again or leaving it out."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, TypeAlias, TypeVar

import typer
from rich.console import Console

from console.api import Api
from console.output import OutputOption, as_json, grid
from infra.settings import Settings
from schemas.errors import TimedOut

T = TypeVar("T")

SETTLED_WITHIN_S = 600
"""How long it is waited for what a request leads to."""

app = typer.Typer(no_args_is_help=True, help="What readers could not take: list, show, by cause; retry, skip.")
console = Console(highlight=False)

View: TypeAlias = Annotated[str | None, typer.Option(help="of this read model or reader")]
Topic: TypeAlias = Annotated[str | None, typer.Option(help="of records of this topic")]
Key: TypeAlias = Annotated[str | None, typer.Option(help="of this key")]
Code: TypeAlias = Annotated[str | None, typer.Option(help="with this cause")]
State: TypeAlias = Annotated[str | None, typer.Option(help="parked, recovered, skipped, passed or gone")]
OfView: TypeAlias = Annotated[str, typer.Option("--view", help="which read model")]
Position: TypeAlias = Annotated[str | None, typer.Option(help="the one record that stands there")]
All: TypeAlias = Annotated[bool, typer.Option("--all", help="all of the read model")]
DryRun: TypeAlias = Annotated[bool, typer.Option("--dry-run", help="only tell how many, by cause and key")]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="do not ask")]


@app.command("list")
def list_letters(
    view: View = None,
    topic: Topic = None,
    key: Key = None,
    code: Code = None,
    state: State = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="how many at most")] = 50,
    output: OutputOption = "table",
) -> None:
    """Dead letters, the last one tried first."""
    filters = _given(view=view, topic=topic, key=key, code=code, state=state) | {"limit": str(limit)}
    found = _asked(lambda api: _query(api, "/dead-letters", filters))
    if output == "json":
        typer.echo(as_json(found))
        return
    table = grid("id", "view", "position", "key", "state", "waiting", "tried", "cause", whole=("id",))
    for one in found["dead_letters"]:
        waiting = str(one["waiting"]) if one["state"] == "parked" else ""
        place = one["position"] or ""
        tried = str(one["attempts"])
        table.add_row(one["letter_id"], one["view"], place, one["key"], one["state"], waiting, tried, one["cause"])
    console.print(table)
    if found["next"]:
        console.print(f"there are more than {limit}: narrow it down, or raise --limit")


@app.command()
def causes(
    view: View = None,
    topic: Topic = None,
    key: Key = None,
    code: Code = None,
    state: State = None,
    output: OutputOption = "table",
) -> None:
    """Dead letters by cause, the most frequent first."""
    filters = _given(view=view, topic=topic, key=key, code=code, state=state)
    found = _asked(lambda api: _query(api, "/dead-letters/causes", filters))
    if output == "json":
        typer.echo(as_json(found))
        return
    table = grid("view", "code", "state", "records", "keys", "last", "cause")
    for one in found:
        counts = (f"{one['records']:,}", f"{one['keys']:,}")
        table.add_row(one["view"], one["code"], one["state"], *counts, one["last_at"][:19], one["cause"])
    console.print(table)


@app.command()
def show(letter_id: Annotated[str, typer.Argument(help="id of the letter")], output: OutputOption = "table") -> None:
    """One dead letter: the record, why it could not be taken, what waits behind it, what was tried."""
    found = _asked(lambda api: _query(api, f"/dead-letters/{letter_id}"))
    if output == "json":
        typer.echo(as_json(found))
        return
    for name in ("view", "version", "position", "key", "state", "code", "cause", "attempts", "waiting", "reason"):
        if found[name] not in (None, ""):
            console.print(f"{name:9} {found[name]}", markup=False)
    _show_record(found["record"])
    for one in found["history"]:
        why = one.get("reason") or one.get("cause") or ""
        console.print(f"{one['at'][:19]}  {one['event']}  {one['actor']}  {why}", markup=False)
    for position in found["behind"]:
        console.print(f"waits     {position}", markup=False)


@app.command()
def retry(
    view: OfView,
    position: Position = None,
    key: Key = None,
    code: Code = None,
    all: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    output: OutputOption = "table",
) -> None:
    """Try again what a read model could not take, and then what waits behind it; exit 1 when some still fails."""
    chosen = _given(position=position, key=key, code=code) | ({"all": True} if all else {})
    _request("retry", {"view": view, **chosen}, dry_run=dry_run, yes=yes, output=output)


@app.command()
def skip(
    view: OfView,
    reason: Annotated[str, typer.Option(help="why it is right to leave it out; stays on record")] = "",
    position: Position = None,
    key: Key = None,
    code: Code = None,
    all: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    output: OutputOption = "table",
) -> None:
    """Leave out for good what a read model could not take, and go on with what waits behind it."""
    if not reason and not dry_run:
        raise typer.BadParameter("say why, with --reason: it stays on record")
    chosen = _given(position=position, key=key, code=code) | ({"all": True} if all else {})
    body = {"view": view, **chosen, **({"reason": reason} if reason else {})}
    _request("skip", body, dry_run=dry_run, yes=yes, output=output)


def _request(kind: str, body: Mapping[str, Any], *, dry_run: bool, yes: bool, output: str) -> None:
    params = {name: str(value).lower() if value is True else value for name, value in body.items() if name != "reason"}
    selected = _asked(lambda api: _query(api, "/dead-letters/selection", params))
    if dry_run and output == "json":
        typer.echo(as_json(selected))
        return
    if output == "table":
        _show_selected(kind, selected)
    if dry_run or not selected["poison"]:
        return
    if not yes:
        typer.confirm(f"{kind} {selected['poison']:,} of {selected['view']}?", abort=True)
    settled = _asked(lambda api: _settled(api, kind, body))
    if output == "json":
        typer.echo(as_json(settled))
    else:
        told = ", ".join(f"{settled[name]:,} {name}" for name in ("recovered", "failed", "skipped", "released"))
        console.print(settled["problem"] or told, markup=False)
    if settled["problem"] or settled["failed"]:
        raise typer.Exit(1)


async def _settled(api: Api, kind: str, body: Mapping[str, Any]) -> Any:
    """Send a request and wait for what it leads to.

    Raises:
        Problem: the command API refuses it.
        TimedOut: no projector has done it yet; it stays on record, and one will.
    """
    sent = await api.command("POST", f"/dead-letters/{kind}", body)
    request_id = sent.body["event_id"]
    until = asyncio.get_running_loop().time() + SETTLED_WITHIN_S
    while asyncio.get_running_loop().time() < until:
        params = {"min-position": sent.position, "wait": "10"}
        found = (await api.query(f"/dead-letters/requests/{request_id}", params)).body
        if found["settled_at"] is not None:
            return found
        await asyncio.sleep(0.2)
    raise TimedOut(f"no projector has done request {request_id} yet; it is on record: is one running?")


def _show_selected(kind: str, selected: Mapping[str, Any]) -> None:
    doing = "would be tried again" if kind == "retry" else "would be left out"
    counts = f"{selected['poison']:,} of {selected['view']} {doing}; {selected['waiting']:,} wait behind"
    console.print(counts, markup=False)
    for cause in selected["causes"]:
        console.print(f"  {cause['poison']:,} {cause['code']}: {cause['cause']}", markup=False)
    for key in selected["keys"]:
        console.print(f"  key {key['key']}: {key['waiting']:,} wait", markup=False)
    if (more := selected["poison"] - len(selected["keys"])) > 0:
        console.print(f"  and {more:,} more keys")


def _show_record(record: Mapping[str, Any] | None) -> None:
    if record is None:
        console.print("the log no longer has the record")
        return
    for name, value in record["headers"].items():
        console.print(f"header    {name}: {value}", markup=False)
    told = record["unreadable"] or f"{record['event']} {as_json(record['fields'])}"
    console.print(f"record    {told}", markup=False)


def _given(**filters: str | None) -> dict[str, Any]:
    return {name: value for name, value in filters.items() if value is not None}


async def _query(api: Api, path: str, params: Mapping[str, str] | None = None) -> Any:
    return (await api.query(path, params)).body


def _asked(question: Callable[[Api], Awaitable[T]]) -> T:
    """Ask the services.

    Raises:
        Problem: a service refuses, or is away.
    """

    async def ask() -> T:
        async with Api(Settings()) as api:
            return await question(api)

    return asyncio.run(ask())
