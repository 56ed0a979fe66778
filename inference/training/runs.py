"""Training runs as the log tells of them: which are asked for, on what data, how far they are and how each ended."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, TypeAlias

from schemas.envelope import Meta
from schemas.models import (
    ModelRegistered,
    ModelRetired,
    ModelsEvent,
    OffsetRange,
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
from schemas.outcomes import CommandAccepted, CommandRejected, CommandRepeated, OutcomesEvent

Outcome: TypeAlias = TrainingCompleted | TrainingFailed | TrainingCancelled
RunKey: TypeAlias = tuple[str, str]
"""Model and run: two models may have given the same id."""


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        asked: the part of the log that was asked for; empty means all there is when the run starts.
        correlation_id: of the request, or of the last retry.
        requested_at: when it was asked for.
        ranges: the part of the log that the run reads; None before it has started for the first time.
        outcome: how its last attempt ended; None while it has not.
        attempt: which attempt this is.
        since: when this attempt was asked for; the order in which runs begin.
        started_at: when this attempt began.
        slot: the place that it takes; None while it takes none.
        queued: whether the log says that this attempt waits.
    """

    model: str
    run_id: str
    algorithm: str
    params: Mapping[str, str]
    k: int
    asked: tuple[OffsetRange, ...]
    correlation_id: str
    requested_at: datetime
    since: datetime
    ranges: tuple[OffsetRange, ...] | None = None
    outcome: Outcome | None = None
    attempt: int = 1
    started_at: datetime | None = None
    slot: int | None = None
    queued: bool = False

    @property
    def key(self) -> RunKey:
        """What tells it from the others."""
        return self.model, self.run_id

    @property
    def is_waiting(self) -> bool:
        """Whether its attempt has not begun."""
        return self.outcome is None and self.slot is None

    @property
    def is_under_way(self) -> bool:
        """Whether its attempt has begun and not ended."""
        return self.outcome is None and self.slot is not None


Runs: TypeAlias = Mapping[RunKey, Run]

NO_RUNS: Runs = MappingProxyType({})


def evolve(runs: Runs, event: ModelsEvent | OutcomesEvent, meta: Meta) -> Runs:
    """The runs after one more event of `models`."""
    match event:
        case TrainingRequested():
            return {**runs, (event.model, event.run_id): _requested(event, meta)}
        case TrainingQueued():
            return _changed(runs, event, queued=True)
        case TrainingStarted(ranges=ranges, slot=slot):
            return _changed(runs, event, ranges=ranges, slot=slot, started_at=meta.time)
        case TrainingCompleted() | TrainingFailed() | TrainingCancelled():
            return _changed(runs, event, outcome=event, slot=None)
        case TrainingRetried(attempt=attempt):
            again = {"attempt": attempt, "since": meta.time, "correlation_id": meta.correlation_id}
            return _changed(runs, event, **again, outcome=None, slot=None, started_at=None, queued=False)
        case TrainingDatasetBuilt() | TrainingProgressed() | TrainingEvaluated() | TrainingResourcesUsed():
            return runs
        case ModelRegistered() | ModelRetired() | CommandAccepted() | CommandRejected() | CommandRepeated():
            return runs


def _requested(event: TrainingRequested, meta: Meta) -> Run:
    return Run(
        model=event.model,
        run_id=event.run_id,
        algorithm=event.algorithm,
        params=event.params,
        k=event.k,
        asked=event.ranges,
        correlation_id=meta.correlation_id,
        requested_at=meta.time,
        since=meta.time,
    )


def _changed(runs: Runs, event: Any, **changes: Any) -> Runs:
    key = (event.model, event.run_id)
    return {**runs, key: replace(runs[key], **changes)}
