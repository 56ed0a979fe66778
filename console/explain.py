"""`retrace explain`: a recommendation made again from the log, item by item; or many, for the verdict alone."""

import asyncio
import json
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console

from console.bounds import time_of
from console.explained import show, show_tally
from console.output import Output, OutputOption, as_json
from inference.explaining.explain import Explainer, Explanation
from inference.explaining.statement import statement
from inference.explaining.verification import Tally, verified
from inference.explaining.whatif import WhatIf
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.errors import Invalid

TOLD_EVERY = 100
"""Decisions between two lines of progress."""

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def explain(
    decision: Annotated[str | None, typer.Argument(help="id of the decision, as the answer gave it")] = None,
    output: OutputOption = "table",
    model: Annotated[
        str | None, typer.Option(help="suppose that this model had been asked: NAME or NAME@VERSION")
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(help="suppose that this had not happened: event id, position or item:ID; may be repeated"),
    ] = None,
    scan: Annotated[bool, typer.Option("--scan", help="read the log whole, without indexes and kept counts")] = False,
    batch: Annotated[bool, typer.Option("--batch", help="make many decisions again instead of one")] = False,
    since: Annotated[str | None, typer.Option(help="with --batch: recorded then or later (ISO 8601)")] = None,
    until: Annotated[str | None, typer.Option(help="with --batch: recorded before")] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="with --batch: so many, chosen at random")] = None,
    seed: Annotated[int, typer.Option(help="with --sample: another seed chooses others")] = 0,
) -> None:
    """Make a recommendation again from the log and compare; exit status 0 only when it is identical."""
    if batch == (decision is not None):
        raise Invalid("name one decision, or ask for many: retrace explain DECISION, or retrace explain --batch")
    if batch:
        if model is not None or without:
            raise Invalid("--model and --without are about one decision: name it instead of --batch")
        tally = asyncio.run(_batch(time_of(since), time_of(until), sample, seed, indexed=not scan))
        _told_tally(tally, output)
        raise typer.Exit(0 if tally.identical else 1)
    if since or until or sample:
        raise Invalid("--since, --until and --sample choose among many decisions: give --batch with them")
    explanation = asyncio.run(_explained(str(decision), WhatIf.of(model, without or ()), indexed=not scan))
    if output == "json":
        typer.echo(json.dumps(statement(explanation), indent=2, default=str))
    else:
        show(explanation, console)
    raise typer.Exit(0 if explanation.identical else 1)


async def _explained(decision: str, what_if: WhatIf | None, *, indexed: bool) -> Explanation:
    settings = Settings()
    return await Explainer(settings, await open_decoder(settings)).explain(decision, what_if, indexed=indexed)


async def _batch(
    since: datetime | None, until: datetime | None, sample: int | None, seed: int, *, indexed: bool
) -> Tally:
    settings, tally = Settings(), Tally()
    decoder = await open_decoder(settings)
    async for one in verified(settings, decoder, since, until, sample=sample, seed=seed, indexed=indexed):
        tally.add(one)
        if tally.verdicts.total() % TOLD_EVERY == 0:
            errors.print(f"{tally.verdicts.total():,} decisions made again")
    return tally


def _told_tally(tally: Tally, output: Output) -> None:
    if output == "table":
        show_tally(tally, console)
        return
    document: dict[str, Any] = {
        "identical": tally.identical,
        "checked": tally.checked,
        "verdicts": dict(tally.verdicts),
        "sources": dict(tally.sources),
        "faults": [asdict(one) for one in tally.faults],
    }
    typer.echo(as_json(document))
