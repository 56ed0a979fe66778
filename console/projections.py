"""`retrace projections`: how the read models are doing, whether they are right, and folding them again."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, TypeAlias

import psycopg
import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from infra.postgres import connect
from infra.settings import Settings
from projections.compare import Comparison
from projections.overview import Overview, overview
from projections.reader import open_consumer
from projections.rebuild import Progress
from projections.rebuild import rebuild as rebuild_one
from projections.rebuild import verify as verify_one
from projections.runner import declared
from projections.view import Projection
from projections.watch import LogEnds
from schemas.errors import Unavailable

Refill: TypeAlias = Callable[[Settings, Projection, Progress], Coroutine[Any, Any, Comparison]]

app = typer.Typer(no_args_is_help=True, help="Read models: how they are, whether they are right; fold them again.")
console = Console()


@app.command("list")
def list_all() -> None:
    """Every read model: version, store, lag and state."""
    table = Table("name", "version", "store", "lag", "seconds", "state")
    causes: dict[str, list[str]] = {}
    for one in asyncio.run(_overview(Settings())):
        table.add_row(one.name, str(one.version), one.store, f"{one.lag_events:,}", f"{one.lag_seconds:.1f}", one.state)
        if one.cause:
            causes.setdefault(one.cause, []).append(one.name)
    console.print(table)
    for cause, names in causes.items():
        console.print(f"{', '.join(names)}: {cause}", markup=False)


@app.command()
def verify(name: Annotated[str | None, typer.Argument(help="one read model; all when left out")] = None) -> None:
    """Fold read models afresh and compare them with the live ones; exit 1 when one differs."""
    wanted = [_named(name)] if name else list(declared())
    comparisons = [_refilled(projection, verify_one, "verifying") for projection in wanted]
    if not all(comparison.equal for comparison in comparisons):
        raise typer.Exit(1)


@app.command()
def rebuild(name: Annotated[str, typer.Argument(help="which read model")]) -> None:
    """Fold a read model afresh from offset 0, compare it with the live one and put it in its place."""
    _refilled(_named(name), rebuild_one, "rebuilding")


def _refilled(projection: Projection, refill: Refill, doing: str) -> Comparison:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, transient=True) as progress:
        task = progress.add_task(f"{doing} {projection.name}", total=None)

        def tell(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        comparison = asyncio.run(refill(Settings(), projection, tell))
    _show(projection.name, comparison)
    return comparison


def _show(name: str, comparison: Comparison) -> None:
    if comparison.equal:
        console.print(f"[green]equal[/]     {name}: {comparison.live_rows:,} rows, hash {comparison.live_hash[:16]}")
        return
    console.print(f"[red]different[/] {name}: {comparison.live_rows:,} rows live, {comparison.fresh_rows:,} fresh")
    for difference in comparison.sample:
        console.print(f"  only {difference.side}: {difference.row}", markup=False)


def _named(name: str) -> Projection:
    known = {projection.name: projection for projection in declared()}
    if name not in known:
        raise typer.BadParameter(f"there is no read model '{name}'; there are {', '.join(known)}")
    return known[name]


async def _overview(settings: Settings) -> list[Overview]:
    try:
        async with await connect(settings, "projections list") as connection, open_consumer(settings) as consumer:
            return await overview(connection, LogEnds(settings, consumer), declared())
    except psycopg.errors.UndefinedTable as fault:
        raise Unavailable("no projector has ever run here: start one with `retrace serve projector`") from fault
