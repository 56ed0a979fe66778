"""`retrace up | status | down | logs`: the servers and services of this machine."""

import shlex
import time
from collections import deque
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from infra.settings import Settings
from infra.stack.stack import READY, SERVERS, SERVICES, Stack, Status

Names = Annotated[list[str] | None, typer.Argument(help="servers or services; default all")]

COLOURS = {"up": "green", "stopped": "dim"}
ENDS = {READY: "[green]✓[/]", "stopped": "[dim]✓[/]", "failed": "[red]✗[/]"}
FOLLOW_S = 0.2

console = Console()


class Board:
    """What each server is doing, one line each, with the seconds it took."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._lines: dict[str, tuple[str, float | None]] = {}

    def note(self, name: str, what: str) -> None:
        """A server's latest word; where no terminal redraws the board, its last word is printed at once."""
        ended = time.monotonic() - self._began if what in ENDS else None
        self._lines[name] = (what, ended)
        if ended is not None and not console.is_terminal:
            console.print(f"{ENDS[what]} {name:10} {what:8} {ended:5.1f} s")

    def __rich__(self) -> Table:
        table = Table.grid(padding=(0, 2))
        now = time.monotonic() - self._began
        for name, (what, ended) in list(self._lines.items()):
            table.add_row(ENDS.get(what, "[yellow]…"), name, what, f"{ended if ended is not None else now:5.1f} s")
        return table


def _shown(board: Board) -> AbstractContextManager[object]:
    return Live(board, console=console, refresh_per_second=8) if console.is_terminal else nullcontext()


def up(
    names: Names = None,
    servers_only: Annotated[bool, typer.Option("--servers-only", help="leave out Retrace's own services")] = False,
) -> None:
    """Start the servers, then Retrace's own services; what runs already is left alone."""
    stack, board = Stack(Settings()), Board()
    with _shown(board):
        stack.up(names, servers_only=servers_only, progress=board.note)
    _show(stack.status(names or (SERVERS if servers_only else None)))
    if stack.admin_key_file.is_file():
        console.print(f"[dim]the admin key, which these commands use: {stack.admin_key_file}[/]", soft_wrap=True)


def down(names: Names = None) -> None:
    """Stop the services and servers; their data stays."""
    board = Board()
    with _shown(board):
        Stack(Settings()).down(names, progress=board.note)


def status(
    names: Names = None,
    export: Annotated[bool, typer.Option("--export", help="print the addresses as shell variables instead")] = False,
) -> None:
    """Show how each one is; exit with 1 when something is down."""
    statuses = Stack(Settings()).status(names)
    if export:
        for one in statuses:
            if one.address:
                typer.echo(f"{one.name.upper()}={shlex.quote(one.address)}")
        return
    _show(statuses)
    if any(is_down(one) for one in statuses):
        raise typer.Exit(1)


def is_down(one: Status) -> bool:
    """Whether it should run and does not: services may be left out on purpose, servers may not."""
    return one.state != "up" and not (one.state == "stopped" and one.name in SERVICES)


def logs(
    name: Annotated[str | None, typer.Argument(help="one server or service; default all")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on as the log grows; Ctrl-C ends it")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="how many of the last lines")] = 40,
) -> None:
    """Show the end of the logs."""
    stack = Stack(Settings())
    files = {one: stack.log_of(one) for one in ([name] if name else [*SERVERS, *SERVICES])}
    for one, file in files.items():
        for line in tail(file, lines):
            _line(one, line)
    if follow:
        _follow(files)


def tail(file: Path, lines: int) -> list[str]:
    """The last lines of a file; none when there is no such file."""
    if not file.is_file():
        return []
    with file.open(errors="replace") as text:
        return [line.rstrip("\n") for line in deque(text, maxlen=lines)]


def _follow(files: dict[str, Path]) -> None:
    """Print what is added, until interrupted; a log that starts anew is read from its start."""
    ends = {name: file.stat().st_size if file.is_file() else 0 for name, file in files.items()}
    while True:
        for name, file in files.items():
            size = file.stat().st_size if file.is_file() else 0
            if size != ends[name]:
                with file.open("rb") as log:
                    log.seek(ends[name] if size > ends[name] else 0)
                    added = log.read()
                ends[name] = size
                for line in added.decode(errors="replace").splitlines():
                    _line(name, line)
        time.sleep(FOLLOW_S)


def _line(name: str, line: str) -> None:
    console.print(Text(f"{name:10} ", style="cyan").append(line, style="default"), soft_wrap=True)


def _show(statuses: list[Status]) -> None:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    for column in ("name", "state", "pid", "address", "memory", "uptime"):
        right = column in ("pid", "memory", "uptime")
        table.add_column(column, justify="right" if right else "left", no_wrap=True)
    for one in statuses:
        state = Text(one.state, style=COLOURS.get(one.state, "red"))
        memory = f"{one.memory_bytes / 2**20:.0f} MB" if one.memory_bytes else ""
        table.add_row(one.name, state, str(one.pid or ""), one.address, memory, _age(one.uptime_s))
    console.print(table)
    for one in statuses:
        if one.why and one.state != "stopped":
            console.print(Text(f"{one.name}: {one.why}", style="red"), soft_wrap=True)


def _age(seconds: float) -> str:
    if not seconds:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
