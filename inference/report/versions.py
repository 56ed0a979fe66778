"""The training runs and registered versions of every model: from which data, by whose wish, with what result."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from schemas.contracts import contracts
from schemas.envelope import Recorded
from schemas.models import (
    ModelRegistered,
    ModelRetired,
    OffsetRange,
    TrainingCancelled,
    TrainingCompleted,
    TrainingDatasetBuilt,
    TrainingFailed,
    TrainingProgressed,
    TrainingQueued,
    TrainingRequested,
    TrainingResourcesUsed,
    TrainingRetried,
    TrainingStarted,
)

STATES: Mapping[type, str] = {
    TrainingRequested: "requested",
    TrainingStarted: "running",
    TrainingCompleted: "completed",
    TrainingFailed: "failed",
    TrainingCancelled: "cancelled",
    TrainingRetried: "requested",
}
"""Where a run stands after an event; others do not change it."""


@dataclass(frozen=True)
class Event:
    """Something that happened to a run or a version.

    Attributes:
        by: in whose name.
    """

    name: str
    at: datetime
    by: str
    position: str
    reason: str = ""


@dataclass(frozen=True)
class Run:
    """A training run.

    Attributes:
        state: where it stands: requested, running, completed, failed or cancelled.
        ranges: the part of the log that it read; empty before it has started.
        events: what happened to it, in the order of the log.
        completed: what it ended with; None when it did not.
        dataset: what it says of its data; None for runs of before that was recorded.
        used: what it took to compute; None where that is not recorded.
        reason: why it failed or was cancelled.
    """

    run_id: str
    model: str
    algorithm: str
    params: Mapping[str, str]
    k: int
    state: str = "requested"
    ranges: tuple[OffsetRange, ...] = ()
    events: tuple[Event, ...] = ()
    completed: TrainingCompleted | None = None
    dataset: TrainingDatasetBuilt | None = None
    used: TrainingResourcesUsed | None = None
    reason: str = ""


@dataclass(frozen=True)
class Version:
    """A registered version.

    Attributes:
        run: that made it.
        retired: when and why it was forbidden.
        events: what else was said of it, such as an approval.
    """

    model: str
    version: int
    artifact_sha256: str
    dataset_sha256: str
    algorithm: str
    metrics: Mapping[str, float]
    registered: Event
    run: Run
    retired: Event | None = None
    events: tuple[Event, ...] = ()


@dataclass
class Registry:
    """The fold of `models`."""

    runs: dict[tuple[str, str], Run] = field(default_factory=dict)
    versions: dict[tuple[str, int], Version] = field(default_factory=dict)

    def hear(self, one: Recorded) -> None:
        """The next event of the topic; of a kind that nobody knows here, it is kept with its run by name."""
        event: Any = one.event
        if contracts()[event.AVRO].is_outcome:
            return
        match event:
            case TrainingProgressed() | TrainingQueued():
                return  # how far a run had come at a moment says nothing afterwards
            case TrainingRequested():
                run = Run(
                    event.run_id, event.model, event.algorithm, dict(event.params), event.k, ranges=tuple(event.ranges)
                )
                self._keep(run, one)
            case ModelRegistered():
                self._register(event, one)
            case ModelRetired():
                key = (event.model, event.version)
                self.versions[key] = replace(self.versions[key], retired=_event(one, event.reason))
            case _ if hasattr(event, "run_id"):
                self._keep(_after(self.run_of(event), event), one)
            case _ if hasattr(event, "version"):
                version = self.versions[event.model, event.version]
                said = _event(one, getattr(event, "reason", ""))
                self.versions[event.model, event.version] = replace(version, events=(*version.events, said))

    def run_of(self, event: Any) -> Run:
        """The run that an event speaks of."""
        return self.runs[event.model, event.run_id]

    def of(self, model: str) -> list[Version]:
        """The versions of a model, the oldest first."""
        return [one for (name, _), one in sorted(self.versions.items()) if name == model]

    def models(self) -> list[str]:
        """Every model that was trained or registered."""
        return sorted({name for name, _ in self.versions} | {name for name, _ in self.runs})

    def _keep(self, run: Run, one: Recorded) -> None:
        event = _event(one, getattr(one.event, "reason", ""))
        state = STATES.get(type(one.event), run.state)
        self.runs[run.model, run.run_id] = replace(run, state=state, events=(*run.events, event))

    def _register(self, event: ModelRegistered, one: Recorded) -> None:
        self.versions[event.model, event.version] = Version(
            event.model,
            event.version,
            event.artifact_sha256,
            event.dataset_sha256,
            event.algorithm,
            dict(sorted(event.metrics.items())),
            _event(one, ""),
            self.run_of(event),
        )


def _after(run: Run, event: Any) -> Run:
    match event:
        case TrainingStarted() | TrainingRetried():
            return replace(run, ranges=tuple(event.ranges))
        case TrainingDatasetBuilt():
            return replace(run, dataset=event)
        case TrainingResourcesUsed():
            return replace(run, used=event)
        case TrainingCompleted():
            return replace(run, completed=event)
        case TrainingFailed() | TrainingCancelled():
            return replace(run, reason=event.reason)
        case _:
            return run


def _event(one: Recorded, reason: str) -> Event:
    return Event(type(one.event).__name__, one.meta.time, one.meta.actor, str(one.position), reason)
