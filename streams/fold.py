"""Stages over records: what has been folded, up to where, and what is still to be told.

State and offsets are one thing: a record below the offset that the state stands for is a repeat and changes nothing.
So whatever delivers the records may deliver them again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from schemas.envelope import Recorded
from schemas.errors import Unavailable
from schemas.position import Position
from streams.stage import Json, Output, Stage

log = structlog.get_logger()


@dataclass
class Fold:
    """Every stage's state at one place of the log.

    Attributes:
        stages: by name.
        states: state of each stage, by its name.
        next: offset of the next record, by topic and partition.
        seen: partitions that delivered something since the start.
        waiting: what was said and not drained yet, with the stage that said it.
    """

    stages: Mapping[str, Stage[Any]]
    states: dict[str, Any]
    next: dict[tuple[str, int], int] = field(default_factory=dict)
    seen: set[tuple[str, int]] = field(default_factory=set)
    waiting: list[tuple[str, Output]] = field(default_factory=list)

    @classmethod
    def fresh(cls, stages: Mapping[str, Stage[Any]]) -> "Fold":
        """Nothing folded yet."""
        return cls(stages, {name: stage.initial() for name, stage in stages.items()})

    def expects(self, position: Position) -> bool:
        """Whether the record that stands here is new, not a repeat.

        Raises:
            Unavailable: records before it were left out by whatever delivers them; starting again reads them.
        """
        partition = (position.topic, position.partition)
        expected = self.next.get(partition, position.offset)
        if position.offset > expected and partition in self.seen:
            raise Unavailable(f"expected {position.topic}/{position.partition}/{expected}, got {position}: start again")
        if position.offset > expected:  # the broker itself was asked for `expected` and has no such record
            log.warning("the log has a hole", expected=expected, found=str(position))
        self.seen.add(partition)
        return position.offset >= expected

    def take(self, position: Position, recorded: Recorded | None) -> None:
        """Fold one record that is expected; None for one that is no event or could not be read."""
        if recorded is not None:
            for name, stage in self.stages.items():
                if isinstance(recorded.event, stage.reads):
                    self.states[name], said = stage.step(self.states[name], recorded.event, recorded.meta)
                    self.waiting += [(name, output) for output in said]
        self.next[(position.topic, position.partition)] = position.offset + 1

    def drain(self) -> Sequence[tuple[str, Output]]:
        """Let every stage settle; answer what was said since the last time."""
        for name, stage in self.stages.items():
            self.states[name], said = stage.settle(self.states[name])
            self.waiting += [(name, output) for output in said]
        drained, self.waiting = self.waiting, []
        return drained

    def dump(self) -> Json:
        """States and offsets as JSON; complete once everything drained has been told."""
        return {
            "next": [[topic, partition, offset] for (topic, partition), offset in self.next.items()],
            "states": {name: stage.dump(self.states[name]) for name, stage in self.stages.items()},
        }

    @classmethod
    def load(cls, stages: Mapping[str, Stage[Any]], kept: Json) -> "Fold":
        """What `dump` wrote."""
        states = {name: stage.load(kept["states"][name]) for name, stage in stages.items()}
        return cls(stages, states, {(topic, partition): offset for topic, partition, offset in kept["next"]})
