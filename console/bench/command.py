"""`retrace bench`: the command."""

import asyncio
import importlib.util
import logging
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import console.bench.sections
from console.bench.bench import Bench, Section, Sizes, quick
from console.bench.figure import Figure
from console.bench.machine import this_machine
from console.bench.own import is_own, own_stack
from console.bench.report import as_json, show
from infra.discover import discover
from infra.log import configure_logging
from infra.settings import Settings
from infra.stack.stack import SERVICES
from schemas.errors import Invalid

WIDTH = 150
NO_LIBRARY = (
    "the library `eventsourcing` is not installed, so nothing is compared with it: "
    "it comes with the development group, `uv sync --extra stack`"
)


class Output(StrEnum):
    """How the figures are printed."""

    table = "table"
    json = "json"


def bench(
    sections: Annotated[list[str] | None, typer.Argument(help="what to measure; default everything")] = None,
    runs: Annotated[int | None, typer.Option(min=1, help="of everything; default 3, or 1 with --quick")] = None,
    rough: Annotated[bool, typer.Option("--quick", help="small amounts: does it work at all? Under 3 minutes")] = False,
    events: Annotated[
        int | None, typer.Option(min=1, help="in the log of the sections `rebuild` and `explain`")
    ] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="what is printed at the end")] = Output.table,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="folder for the stack that is measured, removed at the end; default <data>-bench"),
    ] = None,
) -> None:
    """Measure on a stack of its own, beside what a Python team would use instead."""
    settings, screen = Settings(), Console(stderr=True)
    configure_logging("bench", "warning")
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    chosen, machine = choose(sections), this_machine()
    folder = data_dir or settings.data_dir.with_name(f"{settings.data_dir.name}-bench")
    with own_stack(folder, screen) as stack:
        sizes = quick(runs or 1) if rough else Sizes(runs=runs or 3)
        sizes = sizes if events is None else replace(sizes, rebuild=events)
        work = Bench(stack, sizes, screen, importlib.util.find_spec("eventsourcing") is not None)
        figures, whole = measure(work, chosen, provide)
    if output is Output.json:
        print(as_json(figures, machine, work.notes))
    else:
        out = Console()
        show(out if out.is_terminal else Console(width=WIDTH), figures, machine, work.notes)
    if not whole:
        raise typer.Exit(1)


def choose(names: Sequence[str] | None) -> list[Section]:
    """The sections of these names, in their own order; all when none is named.

    Raises:
        Invalid: there is none of that name.
    """
    found = sorted(discover(console.bench.sections, Section).values(), key=lambda section: section.place)
    known = [section.name for section in found]
    if unknown := set(names or ()) - set(known):
        raise Invalid(f"There is no section {unknown.pop()}; choose among {', '.join(known)}.", code="unknown_section")
    return [section for section in found if not names or section.name in names]


Provide = Callable[[Bench, Sequence[str]], None]
"""Lets the servers and services of these names run."""


def measure(work: Bench, sections: Sequence[Section], provide: Provide) -> tuple[list[Figure], bool]:
    """The figures of these sections, and whether all could be measured."""
    figures: list[Figure] = []
    whole = True
    if not work.has_eventsourcing:
        work.notes.append(NO_LIBRARY)
        work.say(f"[yellow]{NO_LIBRARY}[/]")
    for section in sections:
        work.say(f"[bold]{section.name}[/]")
        try:
            provide(work, section.needs)
            figures += asyncio.run(section.run(work))
        except KeyboardInterrupt:
            logging.disable()  # what was under way and is thrown away would tell of it, task by task
            raise
        except Exception as fault:
            whole = False
            work.notes.append(f"{section.name} could not be measured: {told(fault)}")
            work.screen.print(f"  {section.name} failed: {fault}", style="red", markup=False, highlight=False)
    return figures, whole


def provide(work: Bench, needs: Sequence[str]) -> None:
    """Let exactly these services run, and at least these servers.

    Raises:
        Invalid: the stack is not the benchmark's own.
    """
    if not is_own(work.stack.data_dir):
        raise Invalid(
            f"{work.stack.data_dir} is not the benchmark's, its services are left alone", code="foreign_stack"
        )
    idle = [name for name in SERVICES if name not in needs and work.stack.server(name).running]
    with work.screen.status("services") as status:

        def progress(name: str, what: str) -> None:
            status.update(f"{name}: {what}")

        if idle:
            work.stack.down(idle, progress=progress)
        work.stack.up(needs, progress=progress)


def told(fault: BaseException) -> str:
    """A fault in a line; of several at once the first."""
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return f"{type(fault).__name__}: {str(fault).partition(chr(10))[0]}"
