"""A short campaign of faults: every kind once, on a Kafka of its own. `retrace faults run` is the long one."""

from pathlib import Path

import pytest

from console.faults.campaign import KINDS, Plan, Report, run_campaign
from console.faults.proxy import MISHAPS


@pytest.fixture(scope="module")
async def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """What came of it."""
    plan = Plan(commands=3000, faults=len(KINDS), clients=12, users=60, settle=30)
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
    assert report.in_doubt.total() > 0
    assert any(one.outcome == "unknown" or one.attempts > 1 for one in report.operations)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in MISHAPS and kind != "cut every connection"])
def test_a_fault_shows_in_health(report: Report, kind: str) -> None:
    """Whoever is on call sees what is wrong, and where."""
    assert report.seen[kind]
