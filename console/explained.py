"""Explanations as tables."""

from collections.abc import Mapping
from itertools import zip_longest

from rich.console import Console
from rich.table import Table

from console.output import grid
from inference.explaining.explain import Explanation
from inference.explaining.remake import Remade
from inference.explaining.statement import because
from inference.explaining.verification import Tally
from inference.explaining.whatif import Hypothesis
from infra.index.reading import Way

REASONS = 3
"""Past interactions named for an item."""


def show(explanation: Explanation, console: Console) -> None:
    """An explanation, its verdict, and what was supposed."""
    console.print(_facts(explanation))
    if explanation.remade is not None:
        console.print(_items(explanation))
    if explanation.identical:
        console.print("[green]identical[/]: the log and the artifact give this answer again, to the last bit")
    else:
        console.print(f"[red]{'NOT identical' if explanation.remade is not None else 'NOT VERIFIED'}[/]")
    for difference in explanation.differences:
        console.print(f"  {difference}", markup=False)
    if explanation.hypothesis is not None:
        titles = {} if explanation.remade is None else explanation.remade.titles
        _suppose(explanation.hypothesis, titles | explanation.hypothesis.remade.titles, console)


def _facts(explanation: Explanation) -> Table:
    decision, remade = explanation.decision, explanation.remade
    version = f" version {decision.version}" if decision.version else ""
    why = f", because {because(decision.fallback_reason)}" if decision.fallback_reason else ""
    table = Table(show_header=False, box=None, title=f"decision {decision.decision_id}", title_justify="left")
    table.add_row("for", decision.user_id)
    table.add_row("at", f"{decision.served_at:%Y-%m-%d %H:%M:%S.%f} UTC, {decision.latency_ms:.1f} ms")
    table.add_row("by", f"{decision.source}: {decision.model}{version}, arm {decision.arm}{why}")
    table.add_row("artifact", decision.artifact_sha256 or "-")
    if decision.based_on:
        table.add_row("repeats", decision.based_on)
    table.add_row("record", explanation.position)
    table.add_row("known", ", ".join(f"{p.view} {p.topic}/{p.partition}/{p.next_offset}" for p in decision.positions))
    table.add_row("history", f"{decision.history_length} items" + ("" if remade is None else f": {_recent(remade)}"))
    table.add_row("filtered", _filtered(explanation))
    table.add_row("read", "; ".join(dict.fromkeys(map(_way, explanation.ways))) or "-")
    return table


def _filtered(explanation: Explanation) -> str:
    barred = {} if explanation.remade is None else explanation.remade.barred
    named = [f"{item} ({barred[item]})" if item in barred else item for item in explanation.decision.filtered]
    return ", ".join(named) or "-"


def _way(way: Way) -> str:
    """How a part of the log was read, in words."""
    name = f"{way.topic}/{way.partition}/{way.first}..{way.end}"
    if way.why:
        return f"{name} whole"
    parts = [
        f"{way.picked:,} picked",
        f"{way.read:,} read",
        f"{way.indexed:,} passed over by index",
        f"{way.kept:,} counted before",
    ]
    return f"{name} {', '.join(part for part in parts if not part.startswith('0 '))}"


def _recent(remade: Remade) -> str:
    newest = [remade.titles.get(item, item) for item in reversed(remade.history[-5:])]
    return ", ".join(newest) + (", ..." if len(remade.history) > len(newest) else "")


def _items(explanation: Explanation) -> Table:
    remade = explanation.remade
    assert remade is not None
    table = grid("", "item", "title", "recorded", "made again", "", "because of")
    for place, (was, now) in enumerate(zip_longest(explanation.decision.items, remade.items), start=1):
        item = was.item_id if was else now[0]
        same = was is not None and now is not None and was.item_id == now[0] and _score(was.score) == _score(now[1])
        again = (
            "-" if now is None else _score(now[1]) if was and was.item_id == now[0] else f"{now[0]} {_score(now[1])}"
        )
        mark = "[green]=[/]" if same else "[red]≠[/]"
        recorded = _score(was.score) if was else "-"
        table.add_row(str(place), item, remade.titles.get(item, ""), recorded, again, mark, _because(remade, item))
    return table


def _because(remade: Remade, item: str) -> str:
    """The interactions that speak most for an item, with what its score would lose without each."""
    found = remade.reasons.get(item, ())[:REASONS]
    return ", ".join(f"{remade.titles.get(r.item_id, r.item_id)} ({r.score:+.3f})" for r in found)


def _suppose(hypothesis: Hypothesis, titles: Mapping[str, str], console: Console) -> None:
    version = f" version {hypothesis.version}" if hypothesis.version else ""
    remade = hypothesis.remade
    table = grid("", "item", "title", "recorded", "supposed", "score", "because of")
    for change in hypothesis.changes:
        now, was = (str(rank) if rank else "-" for rank in (change.now, change.was))
        score = "" if change.now_score is None else _score(change.now_score)
        title = titles.get(change.item_id, "")
        table.add_row(
            _moved(change.was, change.now), change.item_id, title, was, now, score, _because(remade, change.item_id)
        )
    console.print(f"\n[yellow]HYPOTHETICAL[/]: had it been that {'; '.join(hypothesis.supposed)}", highlight=False)
    console.print(f"answered by {hypothesis.source}: {hypothesis.model}{version}; nobody was ever answered this")
    console.print(table)
    came, went = ", ".join(hypothesis.came_in) or "none", ", ".join(hypothesis.went_out) or "none"
    console.print(f"in: {came}; out: {went}", markup=False)


def _moved(was: int | None, now: int | None) -> str:
    if was is None:
        return "[green]in[/]"
    if now is None:
        return "[red]out[/]"
    return "" if was == now else f"[green]↑{was - now}[/]" if was > now else f"[red]↓{now - was}[/]"


def _score(score: float) -> str:
    return f"{score:.7g}"


def show_tally(tally: Tally, console: Console) -> None:
    """What came of many decisions."""
    table = grid("verdict", "decisions", title="decisions made again", numbers=("decisions",))
    for name, count in sorted(tally.verdicts.items()):
        table.add_row(name, f"{count:,}")
    console.print(table)
    by = ", ".join(f"{count:,} {source}" for source, count in tally.sources.most_common())
    if tally.identical:
        console.print(f"[green]all {tally.checked:,} identical[/]: {by}")
        return
    console.print(
        "[red]NOT all identical[/]" if tally.checked else "[red]nothing was verified[/]: there is no decision"
    )
    for one in tally.faults:
        console.print(f"  {one.decision_id} at {one.position}, {one.verdict}: {one.why}", markup=False)
