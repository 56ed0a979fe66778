"""The shape of sagas: ids from causes, durable timers, and a replay that repeats nothing."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from inference.saga import Progress, due, hear
from inference.sagas.deployment import SAGA, Timeouts
from schemas.deployments import DeploymentLoaded, DeploymentRequested, PromoteDeployment, RollBackDeployment
from schemas.envelope import Recorded
from schemas.outcomes import CommandAccepted

from .sagaworld import HASHES, MODEL, START, recorded

REQUESTED = recorded(
    DeploymentRequested(model=MODEL, deployment_id="d1", version=3, artifact_sha256=HASHES[3], requested_by="ana"), 0
)
LOADED = recorded(DeploymentLoaded(model=MODEL, deployment_id="d1"), 2)


def fold(*events: Recorded, handled: bool = False) -> Progress[Any]:
    progress: Progress[Any] = Progress()
    for event in events:
        progress = hear(SAGA, progress, event, handled=handled)
    return progress


def test_an_event_leads_to_its_command_at_once() -> None:
    """A loaded version is promoted without anybody asking."""
    said = due(fold(REQUESTED, LOADED), START)
    assert [d.command for d in said] == [PromoteDeployment(model=MODEL, deployment_id="d1")]


def test_hearing_an_event_twice_says_the_same_command() -> None:
    """At-least-once delivery does no harm only when the id does not change."""
    once, again = fold(LOADED), fold(LOADED, LOADED)
    assert set(once.pending) == set(again.pending)
    assert {d.key for d in once.pending.values()} == {d.key for d in again.pending.values()}


def test_a_timer_is_due_at_its_time_and_not_before() -> None:
    """A step may not be given up early."""
    progress = fold(REQUESTED)
    after_s = Timeouts().validation
    assert due(progress, START + timedelta(seconds=after_s - 1)) == []
    (said,) = due(progress, START + timedelta(seconds=after_s))
    assert isinstance(said.command, RollBackDeployment)
    assert said.command.step == "requested"


def test_a_replay_rebuilds_timers_and_sends_nothing_else() -> None:
    """After a restart the promise to time out still stands, and nothing is promoted again."""
    progress = fold(REQUESTED, LOADED, handled=True)
    assert {type(d.command) for d in progress.pending.values()} == {RollBackDeployment}


def test_a_timer_that_was_answered_is_not_rebuilt() -> None:
    """The log itself says what has been sent, so that old timers do not fire at each start."""
    (timer,) = fold(REQUESTED).pending.values()
    answer = CommandAccepted(command_id=str(timer.id), command_type=RollBackDeployment.AVRO)
    assert fold(REQUESTED, recorded(answer, 1, caused_by=timer.id), handled=True).pending == {}


def test_the_state_is_kept_by_key() -> None:
    """Two models deployed at once do not see each other."""
    other = replace(REQUESTED, meta=replace(REQUESTED.meta, subject="songs"))
    progress = fold(REQUESTED, LOADED, other)
    assert {key: state.step for key, state in progress.states.items()} == {MODEL: "loaded", "songs": "requested"}
