"""`retrace projections`: how the read models are doing, whether they are right, and folding them again."""

import asyncio
from typing import Annotated

import psycopg
import typer
from rich.console import Console

from console import rebuilds
from console.output import Output, OutputOption, as_json, grid
from console.rebuilds import followed, named, say
from infra.kafka.consumer import open_consumer
from infra.log import configure_logging
from infra.postgres import connect
from infra.settings import Settings
from projections.compare import Comparison
from projections.overview import Overview, overview
from projections.rebuild import verify as verify_one
from projections.runner import declared
from projections.view import Projection
from projections.watch import LogEnds
from schemas.errors import Unavailable

app = typer.Typer(no_args_is_help=True, help="Read models: how they are, whether they are right; fold them again.")
console = Console(highlight=False)


@app.callback()
def _logging() -> None:
    """Read models: how they are, whether they are right; fold them again."""
    configure_logging("projections", "warning")


@app.command("list")
def list_all(output: OutputOption = "table") -> None:
    """Every read model: version, store, lag and state."""
    found = asyncio.run(_overview(Settings()))
    if output == "json":
        typer.echo(as_json([one.document() for one in found]))
        return
    table = grid(
        *("name", "version", "store", "lag", "seconds", "parked", "state"), whole=("name",), numbers=("lag", "seconds")
    )
    causes: dict[str, list[str]] = {}
    for one in found:
        table.add_row(*_row(one))
        if one.cause:
            causes.setdefault(one.cause, []).append(one.name)
    console.print(table)
    for cause, names in causes.items():
        console.print(f"{', '.join(names)}: {cause}", markup=False)


def _row(one: Overview) -> tuple[str, ...]:
    aside = f"{one.parked.poison:,} + {one.parked.waiting:,}" if one.parked.poison else ""
    lag = (f"{one.lag_events:,}", f"{one.lag_seconds:.1f}")
    return one.name, str(one.version), one.store, *lag, aside, one.state


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(help="one read model; all when left out")] = None,
    output: OutputOption = "table",
) -> None:
    """Fold read models afresh and compare them with the live ones; exit 1 when one differs. Ctrl-C leaves nothing."""
    wanted = [named(name)] if name else list(declared())
    comparisons = [_verified(projection, output) for projection in wanted]
    if output == "json":
        typer.echo(as_json([comparison.document() for comparison in comparisons]))
    if not all(comparison.equal for comparison in comparisons):
        raise typer.Exit(1)


def _verified(projection: Projection, output: Output) -> Comparison:
    with followed(f"verifying {projection.name}") as progress:
        comparison = asyncio.run(verify_one(Settings(), projection, progress))
    if output == "table":
        say(projection.name, comparison)
    return comparison


for command in rebuilds.COMMANDS:
    app.command()(command)


async def _overview(settings: Settings) -> list[Overview]:
    try:
        async with await connect(settings, "projections list") as connection, open_consumer(settings) as consumer:
            return await overview(connection, LogEnds(settings, consumer), declared())
    except psycopg.errors.UndefinedTable as fault:
        raise Unavailable("no projector has ever run here: start one with `retrace serve projector`") from fault
