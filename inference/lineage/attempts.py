"""The attempts of training runs, as far as lineage tells of them: folded from the log."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, TypeAlias

from schemas.envelope import Meta
from schemas.models import (
    OffsetRange,
    TrainingCompleted,
    TrainingDatasetBuilt,
    TrainingRequested,
    TrainingResourcesUsed,
    TrainingRetried,
    TrainingStarted,
)


@dataclass(frozen=True)
class Attempt:
    """The last attempt of a run.

    Attributes:
        requested: what was asked for.
        number: 1, and one more for each retry.
        since: when it was asked for.
        ranges: the part of the log that it reads, once it has begun.
        began_at: when.
    """

    requested: TrainingRequested
    number: int
    since: datetime
    ranges: tuple[OffsetRange, ...] = ()
    began_at: datetime | None = None
    worker: str = ""
    dataset: TrainingDatasetBuilt | None = None
    used: TrainingResourcesUsed | None = None
    completed: TrainingCompleted | None = None


Attempts: TypeAlias = Mapping[tuple[str, str], Attempt]
"""By model and run."""

NO_ATTEMPTS: Attempts = MappingProxyType({})


def evolve(attempts: Attempts, event: Any, meta: Meta) -> Attempts:
    """The attempts after one more event of `models`; of other events it learns nothing."""
    match event:
        case TrainingRequested():
            return {**attempts, (event.model, event.run_id): Attempt(event, 1, meta.time)}
        case TrainingRetried():
            before = attempts[event.model, event.run_id]
            again = Attempt(before.requested, event.attempt, meta.time, ranges=event.ranges)
            return {**attempts, (event.model, event.run_id): again}
        case TrainingStarted(ranges=ranges, worker=worker):
            return _changed(attempts, event, ranges=ranges, worker=worker, began_at=meta.time)
        case TrainingDatasetBuilt():
            return _changed(attempts, event, dataset=event)
        case TrainingResourcesUsed(attempt=number):
            return _changed(attempts, event, used=event) if _of(attempts, event).number == number else attempts
        case TrainingCompleted():
            return _changed(attempts, event, completed=event)
        case _:
            return attempts


def about(event: Any) -> tuple[str, str] | None:
    """Model and run that an event is about; None when it is about none."""
    run_id: str | None = getattr(event, "run_id", None)
    return None if run_id is None else (event.model, run_id)


def _of(attempts: Attempts, event: Any) -> Attempt:
    return attempts[event.model, event.run_id]


def _changed(attempts: Attempts, event: Any, **changes: Any) -> Attempts:
    return {**attempts, (event.model, event.run_id): replace(_of(attempts, event), **changes)}
