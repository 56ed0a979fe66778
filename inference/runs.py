"""Training runs as the log tells of them: which are asked for, on what data, and how each ended."""

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
    TrainingCompleted,
    TrainingFailed,
    TrainingRequested,
    TrainingStarted,
)
from schemas.outcomes import CommandAccepted, CommandRejected, CommandRepeated, OutcomesEvent


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        asked: the part of the log that was asked for; empty means all there is when the run starts.
        ranges: the part of the log that the run reads; None before it has started.
        outcome: how it ended; None while it has not.
        correlation_id: of the request.
        requested_at: when it was asked for.
    """

    model: str
    run_id: str
    algorithm: str
    params: Mapping[str, str]
    k: int
    asked: tuple[OffsetRange, ...]
    correlation_id: str
    requested_at: datetime
    ranges: tuple[OffsetRange, ...] | None = None
    outcome: TrainingCompleted | TrainingFailed | None = None


Runs: TypeAlias = Mapping[str, Run]
"""By run id, in the order in which they were asked for."""

NO_RUNS: Runs = MappingProxyType({})


def evolve(runs: Runs, event: ModelsEvent | OutcomesEvent, meta: Meta) -> Runs:
    """The runs after one more event of `models`."""
    match event:
        case TrainingRequested():
            return {**runs, event.run_id: _requested(event, meta)}
        case TrainingStarted(run_id=run_id, ranges=ranges):
            return _changed(runs, run_id, ranges=ranges)
        case TrainingCompleted(run_id=run_id) | TrainingFailed(run_id=run_id):
            return _changed(runs, run_id, outcome=event)
        case ModelRegistered() | ModelRetired() | CommandAccepted() | CommandRejected() | CommandRepeated():
            return runs


def waiting(runs: Runs) -> Run | None:
    """The run to work on: the one asked for first among those that have not ended."""
    return next((run for run in runs.values() if run.outcome is None), None)


def _requested(event: TrainingRequested, meta: Meta) -> Run:
    return Run(
        event.model,
        event.run_id,
        event.algorithm,
        event.params,
        event.k,
        event.ranges,
        meta.correlation_id,
        meta.time,
    )


def _changed(runs: Runs, run_id: str, **changes: Any) -> Runs:
    return {**runs, run_id: replace(runs[run_id], **changes)}
