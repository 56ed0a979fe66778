"""`retrace lineage`: what a version was made from, and which versions have seen a person, an item, a range."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import quote

import orjson
import typer
from rich.console import Console
from rich.tree import Tree

from console.api import Api
from console.bounds import range_of
from console.output import OutputOption, as_json, grid
from console.train import find_run
from inference.lineage.events import events_of
from infra.settings import Settings
from schemas.errors import Invalid

Json = dict[str, Any]

console = Console(highlight=False)


def lineage(
    model: Annotated[
        str | None, typer.Argument(help="MODEL, or MODEL@VERSION; the newest version when left out")
    ] = None,
    user: Annotated[str | None, typer.Option(help="which versions have seen this person")] = None,
    item: Annotated[str | None, typer.Option(help="which versions have seen this item")] = None,
    range: Annotated[str | None, typer.Option(help="TOPIC/PARTITION/FIRST..END: a part of the log")] = None,
    request: Annotated[str | None, typer.Option(help="correlation id of a request, such as an upload")] = None,
    openlineage: Annotated[str | None, typer.Option(help="print this run as OpenLineage events, one a line")] = None,
    output: OutputOption = "table",
) -> None:
    """From a version to the events it was fitted on, and back."""
    given = {"user": user, "item": item, "range": range, "request": request, "openlineage": openlineage, "model": model}
    said = [name for name, value in given.items() if value is not None]
    if len(said) != 1:
        raise Invalid("give one of MODEL[@VERSION], --user, --item, --range, --request and --openlineage")
    if openlineage is not None:
        for event in asyncio.run(_openlineage(openlineage)):
            typer.echo(orjson.dumps(event).decode())
        return
    path, params = _asked(said[0], str(given[said[0]]))
    found = asyncio.run(_query(path, params))
    if output == "json":
        typer.echo(as_json(found))
    elif model is not None:
        console.print(_tree(found))
    else:
        _print_seen(found)


def _asked(kind: str, text: str) -> tuple[str, dict[str, str]]:
    """Path and parameters of the query.

    Raises:
        Invalid: it names no range or version.
    """
    match kind:
        case "user" | "item" | "request":
            return f"/lineage/{kind}s/{quote(text, safe='')}", {}
        case "range":
            found = range_of(text)
            return f"/lineage/ranges/{found.topic}/{found.partition}", {
                "first": str(found.first),
                "end": str(found.end),
            }
        case _:
            model, _, version = text.partition("@")
            if version and not version.isdecimal():
                raise Invalid(f"'{version}' is no version: write MODEL@3, or MODEL for the newest")
            return f"/lineage/models/{quote(model, safe='')}", {"version": version} if version else {}


async def _query(path: str, params: dict[str, str]) -> Json:
    async with Api(Settings()) as api:
        return dict((await api.query(path, params)).body)


async def _openlineage(run_id: str) -> Sequence[Json]:
    settings = Settings()
    run = await find_run(settings, run_id)
    return await events_of(settings, run)


def _tree(found: Json) -> Tree:
    version, run, dataset = found["version"], found["run"], found["dataset"]
    state = " [green]serves[/]" if found["live"] else " [dim]retired[/]" if version["retired"] else ""
    tree = Tree(
        f"[bold]{version['model']}[/] version {version['version']}{state}, artifact {version['artifact_sha256']}"
    )
    for one in found["deployments"]:
        tree.add(f"deployment {one['deployment_id']}: {one['step']} by {one['requested_by']} at {one['requested_at']}")
    if run is None:
        tree.add("its run is not on record")
        return tree
    branch = tree.add(f"run {run['run_id']}: {run['algorithm']} {run['params'] or ''}, attempt {run['attempt']}")
    for step in found["steps"]:
        branch.add(f"[dim]{step['at'][:19]}[/] {step['name']} by {step['actor']}, {step['position']}")
    rows = branch.add(f"dataset {dataset['dataset_sha256']}: {dataset['dataset_rows']:,} rows")
    for part in found["ranges"]:
        rows.add(f"{part['topic']}/{part['partition']}/{part['first']}..{part['end']}: {part['offsets']:,} offsets")
    rows.add(f"[dim]its events: {_replay(found['ranges'])}[/]")
    return tree


def _replay(ranges: Sequence[Json]) -> str:
    parts = [part for part in ranges if part["topic"] == "interactions"]
    first = ",".join(f"{part['partition']}:{part['first']}" for part in parts)
    end = ",".join(f"{part['partition']}:{part['end']}" for part in parts)
    return f"retrace replay --topic interactions --from {first} --to {end} --format jsonl --out -"


def _print_seen(found: Json) -> None:
    about = ", ".join(f"{name} {value}" for name, value in found["about"].items())
    title = f"{about}: {found['interactions']:,} {_kind(found['about'])} where versions have read"
    table = grid("version", "saw", "rows", "left out", "from, to", "run", title=title, whole=("from, to", "run"))
    for one in found["versions"]:
        left = ", ".join(f"{count} {why}" for why, count in one["left_out"].items())
        saw = ("[green]yes[/]" if one["saw"] else "no") + ("" if one["exact"] else " [yellow]?[/]")
        version = f"{one['model']}@{one['version']}{' [green]serves[/]' if one['live'] else ''}"
        places = "\n".join(filter(None, (one["first"], one["last"]))) or "-"
        table.add_row(version, saw, f"{one['rows']:,}", left or "-", places, one["run_id"])
    console.print(table)
    console.print(f"[dim]{_way(found['read'])}[/]")
    for one in found["versions"]:
        if not one["exact"]:
            console.print(f"[yellow]?[/] {one['model']} version {one['version']}: {one['doubt']}")


def _kind(about: Json) -> str:
    part = about.get("range")
    return "interactions" if part is None or part["topic"] == "interactions" else f"events of {part['topic']}"


def _way(read: Json) -> str:
    """How the log was read for an answer."""
    parts = f"read {read['scanned']:,} offsets, picked {read['picked']:,} records"
    indexed = f"; an index left out {read['indexed']:,} offsets" if read["indexed"] else ""
    why = f"; no index for all of it: {', '.join(read['why'])}" if read["why"] else ""
    return parts + indexed + why
