"""`retrace report`: what an auditor asks, answered from the log; and the model card of a version."""

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from console.bounds import time_of
from inference.report.card import card
from inference.report.page import page
from inference.report.paper import paper
from inference.report.person import person_report
from inference.report.report import report as made
from inference.report.scope import Scope, again, resolve
from inference.report.verdicts import verdicts
from infra.kafka.replay import Progress as Read
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.errors import Invalid, Unavailable

console = Console(highlight=False)
status = Console(stderr=True, highlight=False)

Json = dict[str, Any]
Asked: TypeAlias = Mapping[str, Any]
Out = Annotated[Path | None, typer.Option(help="write to this file: .html, .json or .md, by its name")]
Output = Annotated[Literal["table", "json", "markdown"], typer.Option("--output", "-o", help="form of the result")]
Until = Annotated[str | None, typer.Option(help="end of the period, a time (ISO 8601); now when left out")]


def report(
    since: Annotated[str | None, typer.Option(help="begin of the period; that of the log when left out")] = None,
    until: Until = None,
    model: Annotated[str | None, typer.Option(help="about one model")] = None,
    version: Annotated[int | None, typer.Option(help="with --model: the model card of this version")] = None,
    user: Annotated[str | None, typer.Option(help="about one person, for that person")] = None,
    again_from: Annotated[
        Path | None, typer.Option("--again", help="make the report of this JSON file again and compare")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="with the verdicts of `retrace audit` on the period")
    ] = False,
    out: Out = None,
    output: Output = "table",
) -> None:
    """Tell what was in production when, on whose word, from which data, how it did and what went wrong."""
    if again_from is not None:
        raise typer.Exit(0 if asyncio.run(_again(again_from)) else 1)
    if user is not None and (model is not None or version is not None):
        raise Invalid("a report is about a person or about a model: give --user or --model", code="bad_report")
    if version is not None and model is None:
        raise Invalid("name the model whose version it is: --model NAME --version N", code="bad_report")
    if out is not None:
        _form(out)
    asked = {"model": model, "version": version, "user": user}
    _give(asyncio.run(_report(asked, time_of(since), time_of(until), verify)), out, output)


def model_card(
    model: Annotated[str, typer.Argument(help="name of the model")],
    version: Annotated[int, typer.Argument(help="which version")],
    until: Until = None,
    out: Out = None,
    output: Output = "table",
) -> None:
    """The model card of a version: its use, data, quality, limits and history."""
    if out is not None:
        _form(out)
    asked = {"model": model, "version": version, "user": None}
    _give(asyncio.run(_report(asked, None, time_of(until))), out, output)


async def _report(asked: Asked, since: datetime | None, until: datetime | None, verify: bool = False) -> Json:
    settings = Settings()
    decoder = await open_decoder(settings)
    scope = await resolve(settings, decoder, since, until)
    document = await _make(settings, scope, asked)
    return {**document, "verdicts": await verdicts(settings, decoder, scope)} if verify else document


async def _make(settings: Settings, scope: Scope, asked: Asked) -> Json:
    decoder = await open_decoder(settings)
    with Telling() as told:
        if asked.get("user") is not None:
            return await person_report(settings, decoder, scope, asked["user"])
        if asked.get("version") is not None:
            return await card(settings, decoder, scope, asked["model"], asked["version"], told)
        return await made(settings, decoder, scope, asked.get("model"), told)


async def _again(path: Path) -> bool:
    """Make a report again from the positions that it names; whether every fact is the same.

    Raises:
        Invalid: the file is no report.
    """
    try:
        before: Json = json.loads(path.read_text())
        asked, positions = before["asked"], before["speaks_for"]
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise Invalid(f"{path} is no report ({fault}): make one with --out FILE.json", code="no_report") from fault
    settings = Settings()
    now: Json = json.loads(_json(await _make(settings, await again(settings, positions), asked)))
    before.pop("verdicts", None)  # they speak for the moment in which they were made
    differing = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    if not differing:
        console.print("[green]identical[/]: the log gives this report again, in every fact")
        return True
    console.print(f"[red]NOT identical[/]: {', '.join(differing)} differ")
    return False


def _json(document: Json) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False)


FORMS: Mapping[str, Callable[[Json], str]] = {".html": page, ".json": lambda d: _json(d) + "\n", ".md": paper}


def _give(document: Json, out: Path | None, output: str) -> None:
    """The document as a file, on standard output, or both; exit status 1 when one of its checks did not pass."""
    if out is not None:
        _write(out, document)
    if output == "json":
        typer.echo(_json(document))
    elif output == "markdown":
        typer.echo(paper(document), nl=False)
    else:
        _show(document)
    if any(not one["passed"] for one in _checks(document)):
        raise typer.Exit(1)


def _checks(document: Json) -> list[Json]:
    return [*document.get("checks", ()), *document.get("verdicts", ())]


def _form(out: Path) -> Callable[[Json], str]:
    """How a file of this name is written.

    Raises:
        Invalid: its name tells no form.
    """
    form = FORMS.get(out.suffix.lower())
    if form is None:
        raise Invalid(f"{out} tells no form: end it in {', '.join(FORMS)}", code="bad_report")
    return form


def _write(out: Path, document: Json) -> None:
    try:
        out.write_text(_form(out)(document))
    except OSError as fault:
        raise Unavailable(f"{out} cannot be written: {fault.strerror or fault}") from fault
    status.print(f"written to {escape(str(out))}", soft_wrap=True)


def _show(document: Json) -> None:
    """What the report says in brief, and its checks."""
    table = Table(title=escape(document["title"]), title_justify="left", show_header=False, box=None)
    marks = {"good": "[green]✓[/]", "attention": "[yellow]![/]"}
    for one in document["summary"]:
        table.add_row(marks.get(one["tone"], "·"), escape(one["text"]))
    console.print(table)
    for one in _checks(document):
        console.print(f"{'[green]passed[/]' if one['passed'] else '[red]not passed[/]'}: {escape(one['text'])}")


class Telling:
    """Shows on standard error how far reading has come."""

    def __enter__(self) -> Callable[[Read], None]:
        columns = (TextColumn("read the log"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=status, transient=True)
        self._bar.start()
        self._task = self._bar.add_task("read", total=None)
        return lambda read: self._bar.update(self._task, completed=read.done, total=read.total)

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()
