"""`retrace explain DECISION`: a recommendation made again from the log, item by item."""

import asyncio
import json
from dataclasses import asdict
from itertools import zip_longest
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from inference.explain import Explanation
from inference.explain import explain as explained
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.codec import as_fields

console = Console(highlight=False)


def explain(
    decision: Annotated[str, typer.Argument(help="id of the decision, as the answer gave it")],
    output: Annotated[Literal["table", "json"], typer.Option("--output", "-o", help="form of the result")] = "table",
) -> None:
    """Make a recommendation again from the log and compare; exit status 0 only when it is identical."""
    explanation = asyncio.run(_explained(decision))
    if output == "json":
        typer.echo(json.dumps(document(explanation), indent=2, default=str))
    else:
        show(explanation, console)
    raise typer.Exit(0 if explanation.identical else 1)


async def _explained(decision: str) -> Explanation:
    settings = Settings()
    return await explained(settings, await open_decoder(settings), decision)


def document(explanation: Explanation) -> dict[str, Any]:
    """An explanation as plain values."""
    remade = explanation.remade
    return {
        "identical": explanation.identical,
        "made_again": remade is not None,
        "differences": list(explanation.differences),
        "position": explanation.position,
        "decision": as_fields(explanation.decision),
        "remade": None if remade is None else asdict(remade),
    }


def show(explanation: Explanation, console: Console) -> None:
    """An explanation as tables."""
    console.print(_facts(explanation))
    if explanation.remade is not None:
        console.print(_items(explanation))
    if explanation.identical:
        console.print("[green]identical[/]: the log and the artifact give this answer again, to the last bit")
        return
    verdict = "NOT identical" if explanation.remade is not None else "NOT VERIFIED"
    console.print(f"[red]{verdict}[/]")
    for difference in explanation.differences:
        console.print(f"  {difference}", markup=False)


def _facts(explanation: Explanation) -> Table:
    decision = explanation.decision
    version = f" version {decision.version}" if decision.version else ""
    why = f", because of {decision.fallback_reason}" if decision.fallback_reason else ""
    table = Table(show_header=False, box=None, title=f"decision {decision.decision_id}", title_justify="left")
    table.add_row("for", decision.user_id)
    table.add_row("at", f"{decision.served_at:%Y-%m-%d %H:%M:%S.%f} UTC, {decision.latency_ms:.1f} ms")
    table.add_row("by", f"{decision.source}: {decision.model}{version}{why}, arm {decision.arm}")
    table.add_row("artifact", decision.artifact_sha256 or "-")
    table.add_row("record", explanation.position)
    table.add_row("known", ", ".join(f"{p.view} {p.topic}/{p.partition}/{p.next_offset}" for p in decision.positions))
    remade = explanation.remade
    table.add_row("history", f"{decision.history_length} items" + ("" if remade is None else f": {_recent(remade)}"))
    table.add_row("filtered", ", ".join(decision.filtered) or "-")
    return table


def _recent(remade: Any) -> str:
    newest = [remade.titles.get(item, item) for item in reversed(remade.history[-5:])]
    return ", ".join(newest) + (", ..." if len(remade.history) > len(newest) else "")


def _items(explanation: Explanation) -> Table:
    remade = explanation.remade
    assert remade is not None
    table = Table("", "item", "title", "recorded", "made again", "", "because of")
    for place, (was, now) in enumerate(zip_longest(explanation.decision.items, remade.items), start=1):
        item = was.item_id if was else now[0]
        same = was is not None and now is not None and was.item_id == now[0] and _score(was.score) == _score(now[1])
        again = (
            "-" if now is None else _score(now[1]) if was and was.item_id == now[0] else f"{now[0]} {_score(now[1])}"
        )
        because = [f"{remade.titles.get(r.item_id, r.item_id)} ({r.score:+.3f})" for r in remade.reasons.get(item, ())]
        mark = "[green]=[/]" if same else "[red]≠[/]"
        recorded = _score(was.score) if was else "-"
        table.add_row(str(place), item, remade.titles.get(item, ""), recorded, again, mark, ", ".join(because))
    return table


def _score(score: float) -> str:
    return f"{score:.7g}"
