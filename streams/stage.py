"""The shape of a derived stream: a fold of events that says something now and then.

A stage is pure: `step` and `settle` see no clock, no broker and no randomness. Time is the time in the events, so a
replay says what the live run said. The shell (`streams.app`) gives it records in the order of each partition, keeps its
state together with the offsets it stands for, and appends what it says.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar
from uuid import UUID

from schemas.envelope import Meta

S = TypeVar("S")
Json: TypeAlias = Any


@dataclass(frozen=True, slots=True)
class Output:
    """Something a stage says.

    Attributes:
        event: instance of a generated class, a fact.
        subject: record key.
        id: UUIDv5 of what is said: said again it is the same, so that readers can leave it out.
    """

    event: Any
    subject: str
    id: UUID


@dataclass(frozen=True)
class Stage(Generic[S]):
    """A derived stream.

    `step` and `settle` own the state they are given: they may build the new state out of the parts of the old one, and
    nobody uses the old one afterwards. That keeps a step at the cost of its change, not of its state.

    Attributes:
        name: unique among the stages.
        version: raise it when the state or its meaning changes; the state is then folded anew from the log.
        reads: classes of the events it sees.
        params: what it was set to, as JSON; a change folds anew, as a new version does.
        initial: makes the state before the first event.
        step: folds one event; says what can no longer change.
        settle: says what has changed and was not said yet; called when the input pauses, and now and then when not.
        dump: the state as JSON, kept with the offsets.
        load: the state that `dump` wrote.
    """

    name: str
    version: int
    reads: tuple[type[Any], ...]
    params: Json
    initial: Callable[[], S]
    step: Callable[[S, Any, Meta], tuple[S, Sequence[Output]]]
    settle: Callable[[S], tuple[S, Sequence[Output]]]
    dump: Callable[[S], Json]
    load: Callable[[Json], S]

    @property
    def fingerprint(self) -> str:
        """Changes when a kept state no longer fits."""
        described = [self.name, self.version, [event.AVRO for event in self.reads], self.params]
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]
