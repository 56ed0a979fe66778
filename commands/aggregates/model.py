"""A model: its training runs, and the versions that came out of them.

    requested ──► started ──► completed
        │            ├──► failed ─────┐
        └────────────┴──► cancelled ──┴──► requested, as the next attempt

Every report names its attempt. One that comes after its attempt is over changes nothing, so a trainer that was away
cannot end what another has begun; and what was cancelled never becomes a version.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, assert_never

from commands.aggregate import Aggregate
from schemas.envelope import Meta
from schemas.errors import NotFound, Rejected
from schemas.models import (
    CancelTraining,
    CompleteTraining,
    FailTraining,
    ModelRegistered,
    ModelRetired,
    ModelsCommand,
    ModelsEvent,
    OffsetRange,
    QueueTraining,
    ReportDataset,
    ReportEvaluation,
    ReportProgress,
    ReportResources,
    RequestTraining,
    RetireModel,
    RetryTraining,
    StartTraining,
    TrainingCancelled,
    TrainingCompleted,
    TrainingDatasetBuilt,
    TrainingEvaluated,
    TrainingFailed,
    TrainingProgressed,
    TrainingQueued,
    TrainingRequested,
    TrainingResourcesUsed,
    TrainingRetried,
    TrainingStarted,
)

Status: TypeAlias = Literal["requested", "started", "completed", "failed", "cancelled"]
Told: TypeAlias = ReportDataset | ReportProgress | ReportEvaluation


@dataclass(frozen=True, slots=True)
class Run:
    """A training run.

    Attributes:
        algorithm: which declaration fits it.
        status: how far it has come.
        ranges: the part of the log it reads, once it has started.
        artifact_sha256: what it produced, once it has completed.
        attempt: 1, and one more for each retry.
        slot: the place that it takes while it is started.
        queued: whether this attempt has been told that it waits.
    """

    algorithm: str
    status: Status = "requested"
    ranges: tuple[OffsetRange, ...] = ()
    artifact_sha256: str | None = None
    attempt: int = 1
    slot: int = 0
    queued: bool = False


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
        Rejected: the run's id is taken, the run is past the step or the attempt that is reported, or too many are
            under way.
        NotFound: no such run or version.
    """
    match command:
        case RequestTraining():
            return _request(state, command)
        case QueueTraining():
            return _queue(_run(state, command.run_id), command)
        case StartTraining():
            return _start(state, command)
        case ReportDataset() | ReportProgress() | ReportEvaluation():
            return _tell(_run(state, command.run_id), command)
        case ReportResources():
            return _use(_run(state, command.run_id), command)
        case CompleteTraining():
            return _complete(state, command)
        case FailTraining():
            return _fail(_run(state, command.run_id), command)
        case CancelTraining():
            return _cancel(_run(state, command.run_id), command)
        case RetryTraining():
            return _retry(_run(state, command.run_id), command)
        case RetireModel():
            return _retire(state, command)
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


def _queue(run: Run, command: QueueTraining) -> Sequence[ModelsEvent]:
    if run.status != "requested" or run.attempt != command.attempt or run.queued:
        return []
    return [
        TrainingQueued(
            model=command.model,
            run_id=command.run_id,
            attempt=command.attempt,
            ahead=command.ahead,
            reason=command.reason,
        )
    ]


def _start(state: Model, command: StartTraining) -> Sequence[ModelsEvent]:
    run = _run(state, command.run_id)
    _check_attempt(run, command.run_id, command.attempt)
    if run.status == "started" and (run.ranges, run.slot) == (command.ranges, command.slot):
        return []
    _check_status(run, command.run_id, "requested")
    if run.ranges and run.ranges != command.ranges:
        raise Rejected(f"run '{command.run_id}' has fixed its part of the log: start it on that", code="ranges_fixed")
    under_way = sum(1 for other in state.runs.values() if other.status == "started")
    if command.limit and under_way >= command.limit:
        raise Rejected(
            f"{under_way} runs of model '{command.model}' are under way, and no more are at once: wait for one to end",
            code="model_busy",
        )
    return [
        TrainingStarted(
            model=command.model,
            run_id=command.run_id,
            ranges=command.ranges,
            attempt=command.attempt,
            slot=command.slot,
            worker=command.worker,
        )
    ]


def _tell(run: Run, command: Told) -> Sequence[ModelsEvent]:
    """What a worker tells meanwhile; too late, it changes nothing."""
    if run.status != "started" or run.attempt != command.attempt:
        return []
    match command:
        case ReportDataset():
            return [TrainingDatasetBuilt(**_same(command))]
        case ReportProgress():
            return [TrainingProgressed(**_same(command))]
        case ReportEvaluation():
            return [TrainingEvaluated(**_same(command))]
        case _:
            assert_never(command)


def _use(run: Run, command: ReportResources) -> Sequence[ModelsEvent]:
    """Told of an attempt that is over as well: a cancelled one has used something, too."""
    return [TrainingResourcesUsed(**_same(command))] if command.attempt <= run.attempt else []


def _same(command: Told | ReportResources) -> dict[str, Any]:
    """The fields of a report, which are those of its event."""
    return {name: getattr(command, name) for name in command.__slots__}


def _complete(state: Model, command: CompleteTraining) -> Sequence[ModelsEvent]:
    run = _run(state, command.run_id)
    _check_attempt(run, command.run_id, command.attempt)
    if run.status == "completed" and run.artifact_sha256 == command.artifact_sha256:
        return []
    _check_status(run, command.run_id, "started")
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
        attempt=command.attempt,
    )
    registered = ModelRegistered(
        model=command.model,
        version=len(state.retired) + 1,
        run_id=command.run_id,
        algorithm=run.algorithm,
        artifact_sha256=command.artifact_sha256,
        dataset_sha256=command.dataset_sha256,
        metrics=command.metrics,
    )
    return [completed, registered]


def _fail(run: Run, command: FailTraining) -> Sequence[ModelsEvent]:
    _check_attempt(run, command.run_id, command.attempt)
    if run.status == "failed":
        return []
    _check_status(run, command.run_id, "requested", "started")
    return [
        TrainingFailed(
            model=command.model,
            run_id=command.run_id,
            reason=command.reason,
            attempt=command.attempt,
            code=command.code,
        )
    ]


def _cancel(run: Run, command: CancelTraining) -> Sequence[ModelsEvent]:
    _check_status(run, command.run_id, "requested", "started")
    return [
        TrainingCancelled(model=command.model, run_id=command.run_id, attempt=run.attempt, reason=command.reason),
    ]


def _retry(run: Run, command: RetryTraining) -> Sequence[ModelsEvent]:
    _check_status(run, command.run_id, "failed", "cancelled")
    return [
        TrainingRetried(
            model=command.model,
            run_id=command.run_id,
            attempt=run.attempt + 1,
            ranges=run.ranges,
            reason=command.reason,
        )
    ]


def _retire(state: Model, command: RetireModel) -> Sequence[ModelsEvent]:
    model, version = command.model, command.version
    if version not in state.retired:
        raise NotFound(f"model '{model}' has no version {version}", code="unknown_version")
    return [] if state.retired[version] else [ModelRetired(model=model, version=version, reason=command.reason)]


def _run(state: Model, run_id: str) -> Run:
    run = state.runs.get(run_id)
    if run is None:
        raise NotFound(f"no training run '{run_id}' of this model: request it first", code="unknown_run")
    return run


def _check_status(run: Run, run_id: str, *wanted: Status) -> None:
    if run.status not in wanted:
        raise Rejected(
            f"run '{run_id}' is {run.status}, and this takes one that is {' or '.join(wanted)}",
            code=f"run_{run.status}",
        )


def _check_attempt(run: Run, run_id: str, attempt: int) -> None:
    if run.attempt != attempt:
        raise Rejected(
            f"run '{run_id}' is at attempt {run.attempt}, and this is about attempt {attempt}", code="attempt_over"
        )


def evolve(state: Model, event: ModelsEvent) -> Model:
    """The state after an event."""
    match event:
        case TrainingRequested(run_id=run_id, algorithm=algorithm):
            return _with_run(state, run_id, Run(algorithm))
        case TrainingQueued(run_id=run_id):
            return _changed(state, run_id, queued=True)
        case TrainingStarted(run_id=run_id, ranges=ranges, slot=slot):
            return _changed(state, run_id, status="started", ranges=ranges, slot=slot)
        case TrainingDatasetBuilt() | TrainingProgressed() | TrainingEvaluated() | TrainingResourcesUsed():
            return state
        case TrainingCompleted(run_id=run_id, artifact_sha256=artifact):
            return _changed(state, run_id, status="completed", artifact_sha256=artifact)
        case TrainingFailed(run_id=run_id):
            return _changed(state, run_id, status="failed")
        case TrainingCancelled(run_id=run_id):
            return _changed(state, run_id, status="cancelled")
        case TrainingRetried(run_id=run_id, attempt=attempt):
            return _changed(state, run_id, status="requested", attempt=attempt, queued=False)
        case ModelRegistered(version=version):
            return replace(state, retired={**state.retired, version: False})
        case ModelRetired(version=version):
            return replace(state, retired={**state.retired, version: True})
        case _:
            assert_never(event)


def _changed(state: Model, run_id: str, **changes: Any) -> Model:
    return _with_run(state, run_id, replace(state.runs[run_id], **changes))


def _with_run(state: Model, run_id: str, run: Run) -> Model:
    return replace(state, runs={**state.runs, run_id: run})


AGGREGATE = Aggregate("model", "models", Model(), decide, evolve)
