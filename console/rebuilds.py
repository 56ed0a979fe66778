"""`retrace projections rebuild | rebuilds | pause | resume | cancel | switch | rollback | retire`."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from getpass import getuser
from typing import Annotated, Any, TypeAlias

import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from console.output import Output, OutputOption, as_json, grid
from infra.postgres import connect
from infra.settings import Settings, child_environment
from projections import rebuild as bluegreen
from projections.attempt import Attempt, Attempts
from projections.compare import Comparison
from projections.refill import Progress
from projections.runner import declared
from projections.view import Projection
from schemas.errors import NotFound

INTERRUPTED = 130
"""Exit status after Ctrl-C."""

console = Console(highlight=False)
screen = Console(stderr=True, highlight=False)

Name: TypeAlias = Annotated[str, typer.Argument(help="which read model")]
Rate: TypeAlias = Annotated[int | None, typer.Option(min=1, help="records a second at most")]


def rebuild(
    name: Name,
    rate: Rate = None,
    switch: Annotated[bool, typer.Option("--switch/--no-switch", help="whether it becomes the live one")] = True,
    detach: Annotated[bool, typer.Option("--detach", help="work in the background; `rebuilds` tells how far")] = False,
    output: OutputOption = "table",
) -> None:
    """Fold a read model afresh beside the live one, compare the two and switch; exit 1 when they differ.

    The old one is kept: `rollback` goes back to it, `retire` removes it. Ctrl-C pauses.
    """
    settings, projection = Settings(), named(name)
    if detach:
        started = bluegreen.start(settings, projection, rate=rate, switches=switch, requested_by=getuser())
        attempt = asyncio.run(started)
        _in_background(settings, name)
        _show(attempt, output, f"rebuilding {name} in the background: `retrace projections rebuilds` tells how far")
        return
    _worked(
        name,
        output,
        lambda progress: bluegreen.rebuild(
            settings, projection, progress, rate=rate, switches=switch, requested_by=getuser()
        ),
    )


def rebuilds(
    name: Annotated[str | None, typer.Argument(help="of one read model; all when left out")] = None,
    output: OutputOption = "table",
) -> None:
    """Rebuilds on record, the last first: how far they are, how fast, and what they found."""
    found = asyncio.run(_on_record(Settings(), named(name).name if name else None))
    if output == "json":
        typer.echo(as_json([attempt.document() for attempt in found]))
        return
    table = grid("id", "read model", "state", "folded", "records/s", "left", "compared", "kept or filled", "by")
    for one in found:
        table.add_row(*_row(one))
    console.print(table)
    for one in found:
        if one.cause:
            console.print(f"rebuild {one.id} of {one.view}: {one.cause}", markup=False)


def pause(name: Name, output: OutputOption = "table") -> None:
    """Let a running rebuild stop where it is, from any terminal."""
    attempt = asyncio.run(bluegreen.pause(Settings(), named(name)))
    _show(attempt, output, f"paused: `retrace projections resume {name}` goes on")


def resume(name: Name, rate: Rate = None, output: OutputOption = "table") -> None:
    """Go on with a rebuild that was paused, failed or killed, where it was; exit 1 when the two differ."""
    projection = named(name)
    _worked(name, output, lambda progress: bluegreen.resume(Settings(), projection, progress, rate=rate))


def cancel(name: Name) -> None:
    """Stop a rebuild that has not switched, from any terminal, and leave nothing of it."""
    asyncio.run(bluegreen.cancel(Settings(), named(name)))
    console.print(f"the rebuild of {name} is cancelled, nothing of it is left")


def switch(name: Name, output: OutputOption = "table") -> None:
    """Make a rebuild the live one that is ready, or that was rolled back."""
    with followed(f"switching {name}") as progress:
        attempt = asyncio.run(bluegreen.switch(Settings(), named(name), progress))
    _show(attempt, output, f"switched: `retrace projections rollback {name}` goes back")


def rollback(name: Name, output: OutputOption = "table") -> None:
    """Make the one live again that was live before the last switch, with all that came since."""
    with followed(f"rolling back {name}") as progress:
        attempt = asyncio.run(bluegreen.rollback(Settings(), named(name), progress))
    _show(attempt, output, f"rolled back: `retrace projections switch {name}` goes forward again")


def retire(name: Name, output: OutputOption = "table") -> None:
    """Remove what a rebuild has kept for going back, and earlier versions of the read model."""
    gone = asyncio.run(bluegreen.retire(Settings(), named(name)))
    if output == "json":
        typer.echo(as_json(gone))
    else:
        console.print(f"removed: {', '.join(gone)}", markup=False)


COMMANDS: tuple[Callable[..., None], ...] = (rebuild, rebuilds, pause, resume, cancel, switch, rollback, retire)


def named(name: str) -> Projection:
    """The read model of this name.

    Raises:
        NotFound: there is none.
    """
    known = {projection.name: projection for projection in declared()}
    if name not in known:
        raise NotFound(f"there is no read model '{name}'; there are {', '.join(known)}", code="unknown_projection")
    return known[name]


@contextmanager
def followed(doing: str) -> Iterator[Progress]:
    """A bar on stderr for as long as something is folded."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=screen, transient=True) as bar:
        task = bar.add_task(doing, total=0)

        def tell(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield tell


def say(name: str, comparison: Comparison) -> None:
    """A comparison as lines."""
    if comparison.equal:
        console.print(f"[green]equal[/]     {name}: {comparison.live_rows:,} rows, hash {comparison.live_hash[-16:]}")
        return
    console.print(f"[red]different[/] {name}: {comparison.live_rows:,} rows live, {comparison.fresh_rows:,} fresh")
    for difference in comparison.sample:
        console.print(f"  only {difference.side}: {difference.row}", markup=False)


def _worked(name: str, output: Output, work: Callable[[Progress], Coroutine[Any, Any, Attempt]]) -> None:
    try:
        with followed(f"rebuilding {name}") as progress:
            attempt = asyncio.run(work(progress))
    except KeyboardInterrupt:
        screen.print(f"paused: `retrace projections resume {name}` goes on, `cancel` leaves nothing", markup=False)
        raise typer.Exit(INTERRUPTED) from None
    _tell(attempt, output)
    if attempt.comparison is not None and not attempt.comparison.equal:
        raise typer.Exit(1)


def _tell(attempt: Attempt, output: Output) -> None:
    if output == "table" and attempt.comparison is not None:
        say(attempt.view, attempt.comparison)
    told = {
        "switched": f"live now; `retrace projections rollback {attempt.view}` goes back",
        "ready": f"ready: `retrace projections switch {attempt.view}` makes it live",
        "paused": f"paused: `retrace projections resume {attempt.view}` goes on",
    }
    _show(attempt, output, told.get(attempt.state, attempt.state))


def _show(attempt: Attempt, output: Output, told: str) -> None:
    if output == "json":
        typer.echo(as_json(attempt.document()))
    else:
        console.print(told, markup=False)


def _row(one: Attempt) -> tuple[str, ...]:
    compared = "" if one.comparison is None else "equal" if one.comparison.equal else "different"
    return (
        str(one.id),
        f"{one.view} v{one.version}",
        one.document()["state"] if one.purpose == "rebuild" else f"verify, {one.document()['state']}",
        f"{one.folded:,} of {max(one.total, one.folded):,}",
        f"{one.events_per_s:,.0f}" if one.eta_s is not None else "",
        f"{one.eta_s:,.0f} s" if one.eta_s is not None else "",
        compared,
        one.target or "",
        one.requested_by,
    )


def _in_background(settings: Settings, name: str) -> None:
    """Resume a rebuild in a process that outlives this one; what it says goes into a file."""
    folder = settings.data_dir / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"rebuild-{name}.log").open("ab") as told:
        subprocess.Popen(
            [sys.executable, "-m", "console", "projections", "resume", name],
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=told,
            env=child_environment(settings),
            start_new_session=True,
        )


async def _on_record(settings: Settings, view: str | None) -> list[Attempt]:
    async with await connect(settings, "rebuilds") as connection:
        return await Attempts(connection).all(view)
