"""Whoever reads the report must see what was missed, and against whom."""

import io
import json
from typing import Any

from rich.console import Console

from console.bench.figure import Figure, Goal, at_least, at_most, number
from console.bench.machine import this_machine
from console.bench.report import as_json, show


def figure(**changes: Any) -> Figure:
    values: dict[str, Any] = {
        "section": "ingest",
        "name": "bulk upload",
        "unit": "events/s",
        "better": "higher",
        "runs": [10_000, 12_000, 11_000],
        "asked": at_least(15_000),
        "peers": {"plain": [20_000, 24_000, 22_000]},
    }
    return Figure(**(values | changes))


def shown(*figures: Figure) -> str:
    out = io.StringIO()
    show(Console(file=out, width=160), figures, this_machine(), ["one note"])
    return out.getvalue()


def test_a_missed_goal_is_marked_in_its_row_and_named_at_the_end() -> None:
    """A benchmark that hides what it missed is advertising."""
    text = shown(figure())
    assert "11 000 (10 000-12 000) MISSED" in text
    assert "MISSED: ingest bulk upload" in text


def test_a_reached_goal_is_not_marked() -> None:
    """Exactly what was asked is enough."""
    assert "MISSED" not in shown(figure(asked=at_least(11_000)))


def test_the_peer_and_its_ratio_stand_beside_the_figure() -> None:
    """Half as good reads 0.50, whoever is the better one."""
    assert "0.50×" in shown(figure())
    assert "2×" in shown(figure(better="lower", asked=at_most(1), unit="ms"))


def test_the_machine_and_the_notes_close_the_report() -> None:
    """Figures mean little without the machine."""
    text = shown(figure())
    assert "one note" in text
    assert "Python" in text.splitlines()[-1]
    assert "cores" in text.splitlines()[-1]


def test_json_carries_every_run() -> None:
    """Whoever wants other statistics can make them."""
    document = json.loads(as_json([figure()], this_machine(), ["one note"]))
    (found,) = document["figures"]
    assert found["runs"] == [10_000, 12_000, 11_000]
    assert found["peers"] == {"plain": [20_000, 24_000, 22_000]}
    assert found["ratios"] == {"plain": 0.5}
    assert found["missed"] is True
    assert document["machine"]["cores"] >= 1


def test_a_figure_without_answers_is_missed_and_still_printed() -> None:
    """When a service is down all the time, its latency is infinite, in the table and in JSON."""
    down = figure(better="lower", unit="ms", runs=[float("inf")], peers={"plain": [3.0]}, asked=at_most(10))
    assert "inf MISSED" in shown(down)
    assert json.loads(as_json([down], this_machine(), []))["figures"][0]["missed"] is True


def test_zero_faults_have_no_ratio() -> None:
    """Nothing divided by nothing is no comparison."""
    assert figure(runs=[0.0], peers={"plain": [0.0]}).advantage_over("plain") is None


def test_goals_know_their_direction() -> None:
    """At most and at least."""
    assert Goal(10, "lower").reached(10)
    assert not Goal(10, "lower").reached(10.1)
    assert Goal(10, "higher").reached(10)
    assert not Goal(10, "higher").reached(9.9)


def test_numbers_have_three_digits() -> None:
    """More would claim a precision that nobody measured."""
    assert [number(value) for value in (0.5, 3.14159, 31.4159, 314.159, 31415.9, 7.0)] == [
        "0.50",
        "3.14",
        "31.4",
        "314",
        "31 416",
        "7",
    ]
