"""What the benchmark says at its end: a table for people, JSON for programs."""

from collections.abc import Sequence
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from console.bench.figure import Figure, Goal, number
from console.bench.machine import Machine
from console.bench.stats import Spread, spread

MISSED = "MISSED"


def as_json(figures: Sequence[Figure], machine: Machine, notes: Sequence[str]) -> str:
    """Everything, with the raw number of every run."""
    document = {
        "machine": machine.document(),
        "notes": list(notes),
        "figures": [_document(figure) for figure in figures],
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()


def show(console: Console, figures: Sequence[Figure], machine: Machine, notes: Sequence[str]) -> None:
    """Print the table, the notes and the closing line."""
    console.print(table(figures))
    if any(figure.peers for figure in figures):
        console.print("[dim]ratio: how many times better than the one beside; under 1 that one is better[/]")
    for note in (*(f"{f.section} · {f.name}: {f.note}" for f in figures if f.note), *notes):
        console.print(f"[dim]{note}[/]", highlight=False, soft_wrap=True)
    missed = [figure for figure in figures if figure.missed]
    if missed:
        names = ", ".join(f"{figure.section} {figure.name}" for figure in missed)
        console.print(f"[bold red]{MISSED}[/]: {names}", highlight=False, soft_wrap=True)
    console.print(machine.line(), highlight=False, soft_wrap=True)


def table(figures: Sequence[Figure]) -> Table:
    """A row for each figure and, under it, one for each peer."""
    rows = Table(header_style="bold", box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("section", "figure", "asked", "median (min-max)", "beside", "median (min-max)", "ratio (min-max)"):
        rows.add_column(heading)
    section = ""
    for figure in figures:
        first = figure.section if figure.section != section else ""
        section = figure.section
        for place, peer in enumerate([*figure.peers] or [""]):
            ours = (
                [first, f"{figure.name}, {figure.unit}", _asked(figure), _reached(figure)] if place == 0 else [""] * 4
            )
            rows.add_row(*ours, *_peer(figure, peer))
    return rows


def _asked(figure: Figure) -> str:
    return "" if figure.asked is None else f"{_sign(figure.asked)} {number(figure.asked.limit)}"


def _sign(goal: Goal) -> str:
    return "≥" if goal.better == "higher" else "≤"


def _reached(figure: Figure) -> str:
    text = _ranged(figure.reached)
    if figure.missed:
        return f"[bold red]{text} {MISSED}[/]"
    return f"[green]{text}[/]" if figure.asked else text


def _peer(figure: Figure, peer: str) -> list[str]:
    if not peer:
        return ["", "", ""]
    ratio = figure.advantage_over(peer)
    return [peer, _ranged(spread(figure.peers[peer])), "" if ratio is None else _ranged(ratio, "×")]


def _ranged(runs: Spread, unit: str = "") -> str:
    if runs.least == runs.most:
        return number(runs.median) + unit
    return f"{number(runs.median)}{unit} ({number(runs.least)}-{number(runs.most)})"


def _document(figure: Figure) -> dict[str, Any]:
    goal = figure.asked
    return {
        "section": figure.section,
        "name": figure.name,
        "unit": figure.unit,
        "better": figure.better,
        "asked": None if goal is None else {"limit": goal.limit, "better": goal.better},
        "missed": figure.missed,
        "runs": list(figure.runs),
        "peers": {peer: list(runs) for peer, runs in figure.peers.items()},
        "ratios": {peer: ratio.median for peer in figure.peers if (ratio := figure.advantage_over(peer))},
        "note": figure.note,
    }
