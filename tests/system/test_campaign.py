"""A short campaign of faults: every kind once, on a Kafka of its own. `retrace faults run` is the long one."""

from dataclasses import replace
from pathlib import Path

import pytest

from console.faults.campaign import DEAD_OWNER, KINDS, Plan, Report, run_campaign
from console.faults.check import check_history

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

OVERTAKEN = "processor: a batch overtaken"
SIGNS = (
    ("kill a processor", "processor does not answer"),
    ("pause a processor", "processor does not answer"),
    ("kill the broker", "processor: kafka"),
    (DEAD_OWNER, OVERTAKEN),
    ("hold request", "processor: slow appends"),
    ("hold ack", "processor: slow appends"),
    ("lose request", "processor: slow appends"),
    ("late request", "processor: slow appends"),
    ("lose ack", OVERTAKEN),
    ("repeat request", OVERTAKEN),
)
"""What has to be seen of each; a connection that is cut and opened again between two requests hurts nobody."""


@pytest.fixture(scope="module")
async def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """What came of it."""
    plan = Plan(commands=3000, faults=len(KINDS), clients=12, users=60, processors=2, settle=100)
    folder: Path = tmp_path_factory.mktemp("campaign") / "data"
    return await run_campaign(plan, folder, print)


def test_nothing_is_lost_nothing_comes_twice_and_no_success_is_stale(report: Report) -> None:
    """The promise of the write side, on the real thing, through every fault."""
    assert report.violations == []
    assert set(report.faults) == set(KINDS)
    assert sum(one.outcome == "accepted" for one in report.operations) > 1000


def test_the_faults_were_bad_enough(report: Report) -> None:
    """Without a void record or a doubt the campaign would have proved nothing."""
    assert report.void > 0
    assert report.counted["overtaken"] > 0
    assert any(one.outcome == "unknown" or one.attempts > 1 for one in report.operations)
    assert any(one.again for one in report.operations)


def test_without_the_rule_the_promise_would_be_broken(report: Report) -> None:
    """The guard that everything rests on: the same log, read by somebody who does not apply it."""
    believed = [replace(effect, counts=True) for effect in report.effects]
    broken = {violation.kind for violation in check_history(report.operations, believed)}
    assert broken & {"duplicated", "gap", "answers"}


@pytest.mark.parametrize(("kind", "sign"), SIGNS)
def test_a_fault_shows_in_health_or_metrics(report: Report, kind: str, sign: str) -> None:
    """Whoever is on call sees what is wrong, and where.

    An owner that loses its partition before it learns what became of its batch cannot count it; the loss is seen.
    """
    assert report.seen[kind] & ({sign, "processor: a partition"} if sign == OVERTAKEN else {sign})
