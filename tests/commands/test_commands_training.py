"""Training runs as the aggregate decides them: cancel, retry, limits, and that late reports change nothing."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from commands.aggregates import model as models
from commands.protocol.simulation.material import CODEC
from commands.testing import Spec, meta_for
from schemas.errors import Problem
from schemas.models import (
    CancelTraining,
    CompleteTraining,
    FailTraining,
    ModelRegistered,
    OffsetRange,
    QueueTraining,
    ReportDataset,
    ReportEvaluation,
    ReportProgress,
    ReportResources,
    RequestTraining,
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

model = Spec(models.AGGREGATE)
RUN: dict[str, Any] = {"model": "movies", "run_id": "r1"}
RANGES = (OffsetRange(topic="interactions", partition=0, first=0, end=9),)
OTHERS = (OffsetRange(topic="interactions", partition=0, first=0, end=10),)
REQUESTED = TrainingRequested(**RUN, algorithm="ease")
STARTED = TrainingStarted(**RUN, ranges=RANGES)
CANCELLED = TrainingCancelled(**RUN, attempt=1, reason="wrong")
RETRIED = TrainingRetried(**RUN, attempt=2, ranges=RANGES)
A, B = "a" * 64, "b" * 64


def complete(attempt: int = 1, artifact: str = A, **named: Any) -> CompleteTraining:
    return CompleteTraining(
        **(RUN | named),
        dataset_sha256=B,
        dataset_rows=3,
        duplicates=0,
        artifact_sha256=artifact,
        artifact_bytes=9,
        metrics={},
        duration_s=1.0,
        attempt=attempt,
    )


def test_a_run_is_cancelled_while_it_waits_or_works() -> None:
    """Whoever sees a wrong parameter wants it to stop now."""
    cancel = CancelTraining(**RUN, reason="wrong")
    model.given(REQUESTED).when(cancel).then(CANCELLED)
    model.given(REQUESTED, STARTED).when(cancel).then(CANCELLED)
    model.given().when(cancel).refused("unknown_run", 404)


def test_what_has_ended_cannot_be_cancelled() -> None:
    """A run ends once, and how it ended stays so."""
    cancel = CancelTraining(**RUN)
    model.given(REQUESTED, STARTED, CANCELLED).when(cancel).refused("run_cancelled")
    model.given(REQUESTED, STARTED, TrainingFailed(**RUN)).when(cancel).refused("run_failed")
    completed = model.given(REQUESTED, STARTED).when(complete()).events
    model.given(REQUESTED, STARTED, *completed).when(cancel).refused("run_completed")


def test_a_cancelled_run_never_becomes_a_version() -> None:
    """The trainer's report may already be on its way when somebody cancels."""
    model.given(REQUESTED, STARTED, CANCELLED).when(complete()).refused("run_cancelled")
    model.given(REQUESTED, STARTED, CANCELLED).when(FailTraining(**RUN)).refused("run_cancelled")
    model.given(REQUESTED, STARTED, CANCELLED, RETRIED).when(complete()).refused("attempt_over")


def test_a_retry_keeps_what_was_fixed() -> None:
    """A second attempt on other data would be another run."""
    retry = RetryTraining(**RUN)
    again = model.given(REQUESTED, STARTED, CANCELLED)
    again.when(retry).then(RETRIED)
    retried = model.given(REQUESTED, STARTED, TrainingFailed(**RUN), RETRIED)
    retried.when(StartTraining(**RUN, ranges=OTHERS, attempt=2)).refused("ranges_fixed")
    retried.when(StartTraining(**RUN, ranges=RANGES, attempt=2)).then(TrainingStarted(**RUN, ranges=RANGES, attempt=2))
    retried.when(StartTraining(**RUN, ranges=RANGES)).refused("attempt_over")
    model.given(REQUESTED, CANCELLED).when(retry).then(TrainingRetried(**RUN, attempt=2, ranges=()))


def test_only_what_failed_or_was_cancelled_is_tried_again() -> None:
    """A second attempt of what runs or is done would give two results for one run."""
    retry = RetryTraining(**RUN)
    completed = model.given(REQUESTED, STARTED).when(complete()).events
    model.given(REQUESTED, STARTED, *completed).when(retry).refused("run_completed")
    model.given(REQUESTED, STARTED).when(retry).refused("run_started")
    model.given(REQUESTED).when(retry).refused("run_requested")
    model.given().when(retry).refused("unknown_run", 404)


def test_a_model_has_so_many_runs_under_way_at_once() -> None:
    """Two trainers may choose the next run at the same moment; here is where only one of them is right."""
    other = TrainingRequested(model="movies", run_id="r2", algorithm="ease")
    case = model.given(REQUESTED, other, STARTED)
    start: dict[str, Any] = {"model": "movies", "run_id": "r2", "ranges": RANGES, "slot": 1}
    case.when(StartTraining(**start, limit=1)).refused("model_busy")
    case.when(StartTraining(**start, limit=2)).then(TrainingStarted(**start))
    model.given(REQUESTED, other, STARTED, CANCELLED).when(StartTraining(**start, limit=1)).then(
        TrainingStarted(**start)
    )


def test_a_place_begins_a_run_once() -> None:
    """Said again it changes nothing; another place comes too late."""
    started = TrainingStarted(**RUN, ranges=RANGES, slot=1)
    case = model.given(REQUESTED, started)
    case.when(StartTraining(**RUN, ranges=RANGES, slot=1)).nothing()
    case.when(StartTraining(**RUN, ranges=RANGES, slot=2)).refused("run_started")
    case.when(StartTraining(**RUN, ranges=OTHERS, slot=1)).refused("run_started")


def test_a_run_that_waits_says_so_once() -> None:
    """The log is no place for a queue that is told anew every second."""
    queue = QueueTraining(**RUN, attempt=1, ahead=2, reason="full")
    queued = TrainingQueued(**RUN, attempt=1, ahead=2, reason="full")
    model.given(REQUESTED).when(queue).then(queued)
    model.given(REQUESTED, queued).when(queue).nothing()
    model.given(REQUESTED, STARTED).when(queue).nothing()
    again = QueueTraining(**RUN, attempt=2, ahead=0)
    model.given(REQUESTED, queued, CANCELLED, RETRIED).when(again).then(TrainingQueued(**RUN, attempt=2, ahead=0))


def test_what_a_worker_tells_counts_while_its_attempt_runs() -> None:
    """Progress of an attempt that is over would show a dead run as alive."""
    dataset: dict[str, Any] = {"dataset_sha256": A, "dataset_rows": 3, "duplicates": 1}
    progress: dict[str, Any] = {"step": "reading", "done": 1, "total": 2, "percent": 20.0}
    told = [
        (ReportDataset(**RUN, **dataset), TrainingDatasetBuilt(**RUN, **dataset)),
        (ReportProgress(**RUN, **progress), TrainingProgressed(**RUN, **progress)),
        (ReportEvaluation(**RUN, metrics={"m": 1.0}), TrainingEvaluated(**RUN, metrics={"m": 1.0})),
    ]
    for report, event in told:
        model.given(REQUESTED, STARTED).when(report).then(event)
        model.given(REQUESTED).when(report).nothing()
        model.given(REQUESTED, STARTED, CANCELLED).when(report).nothing()
        model.given(REQUESTED, STARTED, CANCELLED, RETRIED).when(report).nothing()


def test_what_was_used_is_told_of_every_attempt() -> None:
    """A cancelled fit has cost something as well."""
    report = ReportResources(**RUN, attempt=1, cpu_s=2.0)
    used = TrainingResourcesUsed(**RUN, attempt=1, cpu_s=2.0)
    model.given(REQUESTED, STARTED, CANCELLED).when(report).then(used)
    model.given(REQUESTED, STARTED, CANCELLED, RETRIED).when(report).then(used)
    model.given(REQUESTED).when(ReportResources(**RUN, attempt=2)).nothing()


RUNS = st.sampled_from(["r1", "r2"])
ATTEMPTS = st.integers(1, 3)
COMMANDS = st.one_of(
    st.builds(RequestTraining, model=st.just("movies"), run_id=RUNS, algorithm=st.just("ease")),
    st.builds(
        StartTraining,
        model=st.just("movies"),
        run_id=RUNS,
        ranges=st.sampled_from([RANGES, OTHERS]),
        attempt=ATTEMPTS,
        slot=st.integers(0, 1),
        limit=st.integers(0, 2),
    ),
    st.builds(
        lambda run, attempt, artifact: complete(attempt, artifact, run_id=run), RUNS, ATTEMPTS, st.sampled_from([A, B])
    ),
    st.builds(FailTraining, model=st.just("movies"), run_id=RUNS, attempt=ATTEMPTS),
    st.builds(CancelTraining, model=st.just("movies"), run_id=RUNS),
    st.builds(RetryTraining, model=st.just("movies"), run_id=RUNS),
    st.builds(ReportProgress, model=st.just("movies"), run_id=RUNS, attempt=ATTEMPTS, step=st.just("reading")),
    st.builds(QueueTraining, model=st.just("movies"), run_id=RUNS, attempt=ATTEMPTS, ahead=st.just(0)),
)


@given(st.lists(COMMANDS, max_size=60))
def test_whatever_comes_in_whatever_order(commands: list[Any]) -> None:
    """Every attempt ends at most once; versions come from completions alone; ranges once fixed stay fixed."""
    state: Any = models.AGGREGATE.initial
    ends: dict[tuple[str, int], str] = {}
    versions: list[tuple[str, int]] = []
    fixed: dict[str, Any] = {}
    for command in commands:
        try:
            events: Any = models.AGGREGATE.decide(state, command, meta_for(command))
        except Problem:
            continue
        for event in events:
            attempt = state.runs[event.run_id].attempt if event.run_id in state.runs else 1
            match event:
                case TrainingCompleted() | TrainingFailed() | TrainingCancelled():
                    assert (event.run_id, attempt) not in ends
                    assert event.attempt == attempt
                    ends[event.run_id, attempt] = type(event).__name__
                case ModelRegistered(version=version, run_id=run_id):
                    assert ends[run_id, attempt] == "TrainingCompleted"
                    versions.append((run_id, version))
                case TrainingStarted(run_id=run_id, ranges=ranges):
                    assert fixed.setdefault(run_id, ranges) == ranges
                    busy = [run for run in state.runs.values() if run.status == "started"]
                    assert not command.limit or len(busy) < command.limit
            state = models.AGGREGATE.evolve(state, CODEC.decode(CODEC.encode(event)))
    assert [version for _, version in versions] == list(range(1, len(versions) + 1))
    assert len({run_id for run_id, _ in versions}) == len(versions)
    for (run_id, attempt), end in ends.items():
        if end == "TrainingCompleted":
            assert state.runs[run_id].attempt == attempt
