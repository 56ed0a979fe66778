"""Events as contracts: the fields that readers of the log need, given to their real code, written for real."""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_type_hints

import orjson
import pytest
from pydantic import TypeAdapter
from uuid6 import uuid7

import schemas.deployments
import schemas.interactions
import schemas.models
from inference.deployment import placement
from inference.sagas.deployment import SAGA
from inference.training import runs
from infra.settings import Settings
from schemas.catalog import AddItem
from schemas.codec import as_fields
from schemas.contracts import contracts
from schemas.deployments import (
    ApproveDeployment,
    PromoteDeployment,
    ReportLoading,
    ReportUnloading,
    ReportValidation,
    RequestDeployment,
    SetApprovalPolicy,
)
from schemas.envelope import Meta
from schemas.evidence import evidence_sha256
from schemas.models import (
    CancelTraining,
    CompleteTraining,
    FailTraining,
    OffsetRange,
    QueueTraining,
    RequestTraining,
    RetryTraining,
    StartTraining,
)
from streams.stages import trending

from ..inference.logreader import read_topic
from ..inference.town import Town, open_town

FOLDER = Path(__file__).parent / "messages"
MODULES = {"models": schemas.models, "deployments": schemas.deployments, "interactions": schemas.interactions}
SHA = "ab" * 32
NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
META = Meta(id=uuid7(), type="test", source="test", subject="movies", time=NOON, correlation_id="request-1")
Message = dict[str, Any]
Events = Mapping[str, Any]


def agreed(consumer: str) -> list[Message]:
    messages: list[Message] = json.loads((FOLDER / f"{consumer}-log.json").read_text())["messages"]
    return messages


def kind_of(message: Message) -> Any:
    return getattr(MODULES[message["metaData"]["topic"]], message["description"])


def sparse(message: Message, without: str = "") -> Any:
    """An event that has what was agreed and nothing else: whoever reads another field, fails."""
    kind = kind_of(message)
    hints = get_type_hints(kind)
    event = object.__new__(kind)
    for name, value in message["contents"].items():
        if name != without:
            object.__setattr__(event, name, TypeAdapter(hints[name]).validate_python(value))
    return event


def trainer(events: Events) -> None:
    key = ("movies", "run-1")
    known = runs.evolve(runs.NO_RUNS, events["TrainingRequested"], META)
    run = known[key]
    assert (run.model, run.algorithm, run.params, run.k, len(run.asked)) == ("movies", "ease", {"l2": "500"}, 100, 1)
    assert runs.evolve(known, events["TrainingQueued"], META)[key].queued
    known = runs.evolve(known, events["TrainingStarted"], META)
    assert (known[key].ranges, known[key].slot, known[key].is_under_way) == (run.asked, 1, True)
    for end in ("TrainingCompleted", "TrainingFailed", "TrainingCancelled"):
        ended = runs.evolve(known, events[end], META)
        assert (ended[key].is_waiting, ended[key].is_under_way) == (False, False)
        again = runs.evolve(ended, events["TrainingRetried"], META)[key]
        assert (again.is_waiting, again.attempt, again.ranges) == (True, 2, run.asked)


def deployer(events: Events) -> None:
    asked = ("DeploymentRequested", "DeploymentValidated", "DeploymentLoaded", "ApprovalRequested")
    forwards = (*asked, "DeploymentApproved", "DeploymentPromoted")
    live = placed(events, *forwards)
    assert live.live == placement.Version("movies", 1, SHA)
    assert placed(events, *forwards, "DeploymentCompleted").job is None
    given_up = placed(events, "DeploymentRequested", "DeploymentAborted")
    assert given_up.job is not None
    assert (given_up.job.task, given_up.job.deployment_id) == ("withdraw", "deployment-1")
    assert placed(events, "DeploymentRequested", "DeploymentAborted", "DeploymentRolledBack") == placement.Placement()


def placed(events: Events, *names: str) -> placement.Placement:
    """Where the worker stands after these events; the saga hears them too."""
    found, rollout = placement.Placement(), SAGA.initial
    for name in names:
        found = placement.evolve(found, events[name], META)
        assert found.job is None or found.job.deployment_id == "deployment-1"
        rollout = SAGA.evolve(rollout, events[name])
        for reaction in SAGA.react(rollout, events[name], META):
            said: Any = getattr(reaction, "command", reaction)
            assert (said.model, said.deployment_id) == ("movies", "deployment-1")
    return found


def streams(events: Events) -> None:
    params = trending.Params()
    trend, _ = trending.step(params, trending.Trend(), events["InteractionRecorded"], META)
    assert [dict(counter) for counter in trend.counts.values()] == [{"1": 1}]


READERS: Mapping[str, Callable[[Events], None]] = {"trainer": trainer, "deployer": deployer, "streams": streams}


@pytest.mark.parametrize("consumer", READERS)
def test_a_reader_needs_the_agreed_fields_and_each_of_them(consumer: str) -> None:
    """Reading a field that is not agreed fails here, and so does agreeing on one that nobody reads."""
    messages = agreed(consumer)
    whole = {one["description"]: sparse(one) for one in messages}
    READERS[consumer](whole)
    for one in messages:
        for name in one["contents"]:
            with pytest.raises((AssertionError, AttributeError, KeyError, TypeError)):
                READERS[consumer](whole | {one["description"]: sparse(one, without=name)})


def training(model: str, run_id: str, *, ok: bool) -> list[Any]:
    ranges = (OffsetRange(topic="interactions", partition=0, first=0, end=5),)
    asked = RequestTraining(model=model, run_id=run_id, algorithm="ease", params={"l2": "500"}, ranges=ranges)
    counts: Any = {"dataset_rows": 1, "duplicates": 0, "artifact_bytes": 1, "metrics": {}, "duration_s": 1.0}
    done = CompleteTraining(model=model, run_id=run_id, dataset_sha256=SHA, artifact_sha256=SHA, **counts)
    end = done if ok else FailTraining(model=model, run_id=run_id, reason="too little")
    waits = QueueTraining(model=model, run_id=run_id, ahead=0, reason="1 run is under way")
    return [asked, waits, StartTraining(model=model, run_id=run_id, ranges=ranges, slot=1), end]


def cancelled(model: str, run_id: str) -> list[Any]:
    asked = training(model, run_id, ok=True)[0]
    return [asked, CancelTraining(model=model, run_id=run_id), RetryTraining(model=model, run_id=run_id)]


def deployment(model: str, deployment_id: str, *, ok: bool) -> list[Any]:
    named: Any = {"model": model, "deployment_id": deployment_id}
    steps = [ReportLoading(**named, ok=True), PromoteDeployment(**named)] if ok else []
    asked = RequestDeployment(**named, version=1, artifact_sha256=SHA)
    return [asked, ReportValidation(**named, ok=ok), *steps, ReportUnloading(**named)]


def approved(model: str, deployment_id: str) -> list[Any]:
    policy = SetApprovalPolicy(model=model, approvals=1, requester_may_approve=True)
    begun = deployment(model, deployment_id, ok=True)[:3]
    seen = evidence_sha256({"validated": {}, "loaded": {}})
    yes = ApproveDeployment(model=model, deployment_id=deployment_id, artifact_sha256=SHA, evidence_sha256=seen)
    return [policy, *begun, yes]


STATES: Mapping[str, Callable[..., Sequence[Any]]] = {
    "a run has completed": lambda model, run_id: training(model, run_id, ok=True),
    "a run has failed": lambda model, run_id: training(f"{model}-failed", run_id, ok=False),
    "a run was cancelled and tried again": lambda model, run_id: cancelled(f"{model}-again", run_id),
    "a deployment is completed": lambda model, deployment_id: deployment(model, deployment_id, ok=True),
    "a deployment is approved": lambda model, deployment_id: approved(f"{model}-approved", deployment_id),
    "a deployment is rolled back": lambda model, deployment_id: deployment(f"{model}-back", deployment_id, ok=False),
}


@pytest.fixture
async def town(settings: Settings) -> AsyncIterator[Town]:
    async with open_town(settings) as town:
        yield town


async def bring_about(town: Town, state: Mapping[str, Any]) -> None:
    """A provider state, by real commands."""
    if state["name"] == "a user has met an item":
        await town.send(AddItem(item_id=state["params"]["item_id"], title="A film"))
        await town.interact(state["params"]["user_id"], state["params"]["item_id"])
        return
    for command in STATES[state["name"]](**state["params"]):
        await town.send(command)


async def test_the_log_holds_what_was_agreed(town: Town) -> None:
    """A field that an event no longer carries breaks its readers here, not on the topic."""
    brought: list[object] = []
    messages = [one for consumer in READERS for one in agreed(consumer)]
    for state in (state for one in messages for state in one["providerStates"]):
        if state not in brought:
            brought.append(state)
            await bring_about(town, state)
    topics = {one["metaData"]["topic"] for one in messages}
    written = [one.event for topic in topics for one in await read_topic(town.settings, topic)]
    for one in messages:
        full_name = one["metaData"]["type"]
        assert contracts()[full_name].topic == one["metaData"]["topic"], full_name
        found = [json.loads(orjson.dumps(as_fields(event))) for event in written if full_name == event.AVRO]
        assert found, full_name
        for event in found:
            assert not faults(one["contents"], event), full_name


def faults(wanted: Any, got: Any, where: str = "$") -> list[str]:
    """Where an event is not of the agreed types; of arrays and maps, the elements are judged by the first agreed."""
    if isinstance(wanted, dict):
        if not isinstance(got, dict):
            return [f"{where} is no object"]
        missing = [f"{where}.{name} is missing" for name in wanted if name not in got]
        return missing + [fault for n, v in wanted.items() if n in got for fault in faults(v, got[n], f"{where}.{n}")]
    if isinstance(wanted, list) and isinstance(got, list):
        return [fault for i, value in enumerate(got) for fault in faults(wanted[0], value, f"{where}[{i}]")]
    return [] if type(wanted) is type(got) else [f"{where} is {type(got).__name__}, not {type(wanted).__name__}"]


def test_every_message_contract_has_a_reader() -> None:
    """A file that nobody runs says nothing."""
    assert {path.stem for path in FOLDER.glob("*.json")} == {f"{name}-log" for name in READERS}


@pytest.mark.parametrize(
    ("wanted", "got"),
    [({"a": 1}, {}), ({"a": 1}, {"a": "1"}), ({"a": [{"b": 1}]}, {"a": [{"c": 1}]}), ({"a": {}}, {"a": 1})],
)
def test_the_judge_sees_what_is_missing(wanted: Any, got: Any) -> None:
    """A judge that finds everything right proves nothing."""
    assert faults(wanted, got)
