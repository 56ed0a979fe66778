"""What `retrace audit completeness` prints."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.console import Console

from console.output import grid
from inference.serving.completeness import Completeness, ServerReport

MOST = 20
"""Missing answers of one server that the table names; JSON has all."""

REMEDIES = {
    "silent": "it ended without a last word: `retrace up serving` on its machine reads the count that it left",
    "unreported": "it never said how many answers it gave: its records are older than that, or its word is gone",
}


def answers_document(found: Completeness) -> dict[str, Any]:
    """As plain values."""
    return {"whole": found.whole, "servers": [{"whole": one.whole, **asdict(one)} for one in found.servers]}


def show_answers(found: Completeness, screen: Console) -> None:
    """As a table, with what is missing below it."""
    counts = ("answers", "recorded", "missing", "repeated")
    table = grid("server and start", "state", "started", *counts, whole=("state",), numbers=counts)
    for one in found.servers:
        started = f"{one.started_at:%Y-%m-%d %H:%M:%S}" if one.started_at else "-"
        given = sum(missing.given for missing in one.missing)
        numbers = (one.answers, one.recorded, given, one.repeated)
        table.add_row(one.server, one.state, started, *(f"{number:,}" for number in numbers))
    screen.print(table)
    for line in (line for one in found.servers for line in lines(one)):
        screen.print(line, markup=False)
    if not found.servers:
        screen.print("no server has answered in that time")
    elif found.whole:
        screen.print("[green]complete[/]: every answer is on record")
    else:
        screen.print("[red]NOT complete[/]")


def lines(one: ServerReport) -> Iterator[str]:
    """What there is to say about a server."""
    for why, count in Counter(missing.why for missing in one.missing).items():
        yield f"{one.server}: {count:,} {_words(why)}"
    for missing in [missing for missing in one.missing if missing.given][:MOST]:
        yield f"  {missing.sequence}  {missing.decision_id or 'decision not known'}  {missing.why}"
    if one.twice:
        yield f"{one.server}: numbers that two decisions claim: {', '.join(map(str, one.twice[:MOST]))}"
    if one.state in REMEDIES:
        yield f"{one.server}: {REMEDIES[one.state]}"


def _words(why: str) -> str:
    return {
        "shed": "answers were given and not recorded: the queue was full",
        "refused": "answers were given and not recorded: they did not fit their schema",
        "died": "answers were given and not recorded: the server was killed with them on their way",
        "unanswered": "number was drawn for an answer that was never sent: the server was killed before",
    }.get(
        why, "numbers are on no record and nothing says why: records may have been removed, see `retrace audit verify`"
    )
