"""A deployment ends promoted or fully compensated, whatever happens in between."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.deployment.placement import wanted
from inference.sagas.deployment import Timeouts

from .sagaworld import DAYS_S, World

LONG_S = 10 * max(Timeouts().validation, Timeouts().loading, Timeouts().promotion)


def test_a_good_version_is_promoted_and_the_one_before_unloaded() -> None:
    """The whole way without faults, twice."""
    world = World()
    world.request(1)
    world.settle()
    world.request(2)
    world.settle()
    steps = [
        "DeploymentRequested",
        "DeploymentValidated",
        "DeploymentLoaded",
        "DeploymentPromoted",
        "DeploymentCompleted",
    ]
    assert world.steps == steps * 2
    assert world.loaded == {"films-v2"}
    assert [version.number for version in wanted(world.placement)] == [2]


def test_a_version_that_fails_validation_leaves_the_old_one_serving() -> None:
    """Compensation before anything was loaded."""
    world = World()
    world.request(1)
    world.settle()
    world.request(2)
    world.decide()
    world.work(fails=True)
    world.settle()
    assert world.steps[-3:] == ["DeploymentRequested", "DeploymentAborted", "DeploymentRolledBack"]
    assert world.loaded == {"films-v1"}
    assert world.state.live == 1


def test_a_version_that_answers_otherwise_on_the_server_is_unloaded() -> None:
    """Compensation after it was loaded: nothing is left behind."""
    world = World()
    world.request(1)
    world.decide()
    world.work()
    world.decide()
    world.work(fails=True)
    world.settle()
    assert world.steps[-2:] == ["DeploymentAborted", "DeploymentRolledBack"]
    assert world.loaded == set()
    assert wanted(world.placement) == []


def test_a_step_that_nobody_does_is_given_up() -> None:
    """The worker is gone for good; the saga's timeout ends the deployment."""
    world = World()
    world.request(1)
    world.decide()
    world.listen()
    world.pass_time(Timeouts().validation)
    world.speak()
    world.decide()
    assert world.steps[-1] == "DeploymentAborted"


def test_timeouts_of_passed_steps_change_nothing() -> None:
    """Timers are never cancelled; that must be harmless."""
    world = World()
    world.request(1)
    world.settle()
    before = world.steps
    world.pass_time(LONG_S)
    world.settle()
    assert world.steps == before
    assert world.progress.pending == {}, "all timers were answered"


def test_a_version_still_wanted_is_not_withdrawn() -> None:
    """A version that is loaded and waits for its promotion has to survive a restart of the server."""
    world = World()
    world.request(1)
    for _ in range(3):
        world.decide()
        world.work()
    assert world.steps[-1] == "DeploymentLoaded"
    assert [version.name for version in wanted(world.placement)] == ["films-v1"]


def waiting_world(approvals: int = 2) -> World:
    """A first version that is loaded and waits for people."""
    world = World()
    world.want(approvals)
    world.decide()
    world.request(1)
    world.settle()
    assert world.steps[-1] == "ApprovalRequested"
    return world


def test_a_version_waits_loaded_until_enough_people_let_it_serve() -> None:
    """The policy asks for two: one is not enough, however often and long; the second lets it serve."""
    world = waiting_world()
    world.approve("ben")
    world.approve("ben")
    world.pass_time(LONG_S)
    world.settle()
    assert world.steps[-1] == "DeploymentApproved"
    assert [version.name for version in wanted(world.placement)] == ["films-v1"]
    world.approve("eve")
    world.settle()
    assert world.steps[-3:] == ["DeploymentApproved", "DeploymentPromoted", "DeploymentCompleted"]
    world.pass_time(2 * DAYS_S)
    world.settle()
    assert (world.state.live, world.progress.pending) == (1, {})


@pytest.mark.parametrize("approvals_before", [0, 1])
def test_a_saga_that_was_restarted_goes_on_waiting(approvals_before: int) -> None:
    """The promise to give up after days is in the log: killed while it waits, it still holds, and so do approvals."""
    world = waiting_world()
    if approvals_before:
        world.approve("ben")
        world.settle()
    world.commit()
    world.listen(again=True)  # as after kill -9, with all of it dealt with before
    world.pass_time(DAYS_S - 1)
    world.settle()
    assert world.state.running is not None
    world.pass_time(1)
    world.settle()
    assert world.steps[-2:] == ["DeploymentAborted", "DeploymentRolledBack"]
    assert next(iter(world.state.known.values())).reason.startswith("fewer than the 2 people wanted approved")
    assert (world.loaded, world.progress.pending) == (set(), {})


def test_a_saga_killed_at_the_last_approval_promotes_all_the_same() -> None:
    """The last approval is on record and nothing has been said to it: the next saga says it."""
    world = waiting_world(1)
    world.commit()
    world.approve("ben")
    world.decide()
    world.listen()
    world.listen(again=True)
    world.settle()
    assert world.steps[-1] == "DeploymentCompleted"


def test_a_refusal_takes_the_version_back() -> None:
    """With the compensation of every other failed step."""
    world = waiting_world()
    world.approve("ben")
    world.decline("eve")
    world.settle()
    assert world.steps[-3:] == ["DeploymentDeclined", "DeploymentAborted", "DeploymentRolledBack"]
    assert (world.loaded, world.state.live) == (set(), None)


MOVES: dict[str, Any] = {
    "want": st.integers(0, 2),
    "approve": st.sampled_from(["ben", "eve", "anonymous"]),
    "decline": st.sampled_from(["ben", "eve"]),
    "request": st.integers(1, 3),
    "decide": st.integers(0, 3),
    "listen": st.booleans(),
    "speak": st.none(),
    "commit": st.none(),
    "work": st.tuples(st.booleans(), st.booleans()),
    "time": st.sampled_from([1.0, 70.0, 400.0]),
    "double": st.integers(0, 5),
}
LIKELY = ["approve"] * 2 + ["decide"] * 5 + ["work"] * 4 + ["listen", "speak"] * 3 + ["request"] * 2
moves = st.lists(
    st.sampled_from([*sorted(MOVES), *LIKELY]).flatmap(lambda name: st.tuples(st.just(name), MOVES[name])),
    min_size=10,
    max_size=60,
)


def move(world: World, name: str, value: Any) -> None:
    match name:
        case "want":
            world.want(value)
        case "approve":
            world.approve(value)
        case "decline":
            world.decline(value)
        case "request":
            world.request(value)
        case "decide":
            world.decide(value)
        case "listen":
            world.listen(again=value)
        case "speak":
            world.speak()
        case "commit":
            world.commit()
        case "work":
            world.work(fails=value[0], lost=value[1])
        case "time":
            world.pass_time(value)
        case "double" if world.waiting:
            world.waiting.append(world.waiting[value % len(world.waiting)])


@given(moves)
@settings(max_examples=300, deadline=None)
def test_any_order_ends_promoted_or_compensated(steps: list[tuple[str, Any]]) -> None:
    """Commands in any order and twice, lost reports, failing steps, a saga killed anywhere: never in between."""
    world = World()
    world.request(1)
    for name, value in steps:
        move(world, name, value)
    world.listen(again=True)  # as after kill -9
    world.settle()
    world.pass_time(DAYS_S + LONG_S)
    world.settle()
    state = world.state
    assert state.running is None
    assert all(d.step in ("completed", "rolled_back") for d in state.known.values())
    assert world.loaded == ({f"films-v{state.live}"} if state.live else set())
    assert {version.name for version in wanted(world.placement)} == world.loaded
    assert world.progress.pending == {}
