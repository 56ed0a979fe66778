"""A model: its training runs, and the versions that came out of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, assert_never

from commands.aggregate import Aggregate
from schemas.envelope import Meta
from schemas.errors import NotFound, Rejected
from schemas.models import (
    CompleteTraining,
    FailTraining,
    ModelRegistered,
    ModelRetired,
    ModelsCommand,
    ModelsEvent,
    OffsetRange,
    RequestTraining,
    RetireModel,
    StartTraining,
    TrainingCompleted,
    TrainingFailed,
    TrainingRequested,
    TrainingStarted,
)


@dataclass(frozen=True, slots=True)
class Run:
    """A training run.

    Attributes:
        algorithm: which declaration fits it.
        status: how far it has come.
        ranges: the part of the log it reads, once it has started.
        artifact_sha256: what it produced, once it has completed.
    """

    algorithm: str
    status: Literal["requested", "started", "completed", "failed"] = "requested"
    ranges: tuple[OffsetRange, ...] = ()
    artifact_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """What later rules depend on.

    Attributes:
        runs: every training run, by id.
        retired: whether each version has been retired, by version: 1, 2, 3 ...
    """

    runs: Mapping[str, Run] = field(default_factory=dict)
    retired: Mapping[int, bool] = field(default_factory=dict)


def decide(state: Model, command: ModelsCommand, _meta: Meta) -> Sequence[ModelsEvent]:
    """What a command leads to.

    Raises:
        Rejected: the run's id is taken, or the run is past the step that is reported.
        NotFound: no such run or version.
    """
    match command:
        case RequestTraining():
            return _request(state, command)
        case StartTraining(model=model, run_id=run_id, ranges=ranges):
            run = _run(state, run_id)
            if run.status == "started" and run.ranges == ranges:
                return []
            _must_be(run, run_id, "requested")
            return [TrainingStarted(model=model, run_id=run_id, ranges=ranges)]
        case CompleteTraining(run_id=run_id, artifact_sha256=artifact):
            run = _run(state, run_id)
            if run.status == "completed" and run.artifact_sha256 == artifact:
                return []
            _must_be(run, run_id, "started")
            return _complete(command, run, version=len(state.retired) + 1)
        case FailTraining(model=model, run_id=run_id, reason=reason):
            run = _run(state, run_id)
            if run.status == "failed":
                return []
            _must_be(run, run_id, "requested", "started")
            return [TrainingFailed(model=model, run_id=run_id, reason=reason)]
        case RetireModel(model=model, version=version, reason=reason):
            if version not in state.retired:
                raise NotFound(f"model '{model}' has no version {version}", code="unknown_version")
            return [] if state.retired[version] else [ModelRetired(model=model, version=version, reason=reason)]
        case _:
            assert_never(command)


def _request(state: Model, command: RequestTraining) -> Sequence[ModelsEvent]:
    if command.run_id in state.runs:
        raise Rejected(f"run '{command.run_id}' exists already: ask with another run_id", code="run_exists")
    return [
        TrainingRequested(
            model=command.model,
            run_id=command.run_id,
            algorithm=command.algorithm,
            params=command.params,
            k=command.k,
            ranges=command.ranges,
        )
    ]


def _run(state: Model, run_id: str) -> Run:
    run = state.runs.get(run_id)
    if run is None:
        raise NotFound(f"no training run '{run_id}' of this model: request it first", code="unknown_run")
    return run


def _must_be(run: Run, run_id: str, *statuses: str) -> None:
    if run.status not in statuses:
        raise Rejected(
            f"run '{run_id}' is {run.status}, and this takes one that is {' or '.join(statuses)}",
            code=f"run_{run.status}",
        )


def _complete(command: CompleteTraining, run: Run, version: int) -> Sequence[ModelsEvent]:
    completed = TrainingCompleted(
        model=command.model,
        run_id=command.run_id,
        dataset_sha256=command.dataset_sha256,
        dataset_rows=command.dataset_rows,
        duplicates=command.duplicates,
        artifact_sha256=command.artifact_sha256,
        artifact_bytes=command.artifact_bytes,
        metrics=command.metrics,
        duration_s=command.duration_s,
    )
    registered = ModelRegistered(
        model=command.model,
        version=version,
        run_id=command.run_id,
        algorithm=run.algorithm,
        artifact_sha256=command.artifact_sha256,
        dataset_sha256=command.dataset_sha256,
        metrics=command.metrics,
    )
    return [completed, registered]


def evolve(state: Model, event: ModelsEvent) -> Model:
    """The state after an event."""
    match event:
        case TrainingRequested(run_id=run_id, algorithm=algorithm):
            return _with_run(state, run_id, Run(algorithm))
        case TrainingStarted(run_id=run_id, ranges=ranges):
            return _with_run(state, run_id, replace(state.runs[run_id], status="started", ranges=ranges))
        case TrainingCompleted(run_id=run_id, artifact_sha256=artifact):
            completed = replace(state.runs[run_id], status="completed", artifact_sha256=artifact)
            return _with_run(state, run_id, completed)
        case TrainingFailed(run_id=run_id):
            return _with_run(state, run_id, replace(state.runs[run_id], status="failed"))
        case ModelRegistered(version=version):
            return replace(state, retired={**state.retired, version: False})
        case ModelRetired(version=version):
            return replace(state, retired={**state.retired, version: True})
        case _:
            assert_never(event)


def _with_run(state: Model, run_id: str, run: Run) -> Model:
    return replace(state, runs={**state.runs, run_id: run})


AGGREGATE = Aggregate("model", "models", Model(), decide, evolve)
