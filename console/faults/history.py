"""What the clients of a campaign saw: every operation, from when it was sent to what was said in the end."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson


@dataclass(frozen=True, slots=True)
class Told:
    """An answer to an operation; `position` is where its event stands."""

    outcome: str
    version: int
    position: str


@dataclass(slots=True)
class Operation:
    """One command as its client knows it. `mark` is its correlation id, so that its effect is found in the log.

    Attributes:
        mark: text that no other operation sends.
        user: the aggregate.
        began: when it was first sent, seconds on the campaign's clock.
        key: Idempotency-Key.
        expected: version of If-Match.
        ended: when the last answer came.
        outcome: accepted, refused, or unknown: nobody said, or the API said that it does not know.
        status: HTTP status of the last answer; 0 when there was none.
        version: of the aggregate, as the answer told it.
        position: where its event stands, as the answer told it; empty when it was refused before it was decided.
        code: why it was refused.
        attempts: how often it was sent.
        command_id: as any answer told it.
        changed: whether an acceptance told of an event.
        again: what was said later, to the same request or by its status.
    """

    mark: str
    user: str
    began: float
    key: str | None = None
    expected: int | None = None
    ended: float = 0.0
    outcome: Literal["accepted", "refused", "unknown"] = "unknown"
    status: int = 0
    version: int = 0
    position: str = ""
    code: str = ""
    attempts: int = 0
    command_id: str = ""
    changed: bool = True
    again: list[Told] = field(default_factory=list)

    def told(self) -> list[Told]:
        """Everything that was said to be the outcome."""
        first = [] if self.outcome == "unknown" else [Told(self.outcome, self.version, self.position)]
        return first + self.again


@dataclass(frozen=True, slots=True)
class Effect:
    """What one record of the log says.

    Attributes:
        version: of the aggregate after it.
        command: offset of the command that it answers.
        changes: whether it is an event of the aggregate; else it says that nothing changed.
        counts: whether it stands where its writer expected it; else it is void.
    """

    mark: str
    user: str
    version: int
    position: str
    command: int = 0
    changes: bool = True
    counts: bool = True

    @property
    def partition(self) -> str:
        """Where it stands, without the offset."""
        return self.position.rpartition("/")[0]


def write_history(path: Path, operations: Iterable[Operation], effects: Iterable[Effect]) -> None:
    """Keep both, one a line."""
    with path.open("wb") as file:
        for kind, rows in (("operation", operations), ("effect", effects)):
            for row in rows:
                file.write(orjson.dumps({kind: asdict(row)}) + b"\n")


def read_history(path: Path) -> tuple[list[Operation], list[Effect]]:
    """What `write_history` kept."""
    lines = list(_lines(path))
    operations = [_operation(line["operation"]) for line in lines if "operation" in line]
    return operations, [Effect(**line["effect"]) for line in lines if "effect" in line]


def _operation(line: dict[str, Any]) -> Operation:
    return Operation(**line | {"again": [Told(**said) for said in line["again"]]})


def _lines(path: Path) -> Iterator[dict[str, dict[str, Any]]]:
    with path.open("rb") as file:
        for line in file:
            yield orjson.loads(line)
