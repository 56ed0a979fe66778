"""What the clients of a campaign saw: every operation, from when it was sent to what was said in the end."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import orjson


@dataclass(slots=True)
class Operation:
    """One command as its client knows it. What it does carries `mark`, so that its effect is found in the log.

    Attributes:
        mark: text that no other operation writes.
        user: the aggregate.
        began: when it was first sent, seconds on the campaign's clock.
        key: Idempotency-Key.
        expected: version of If-Match.
        ended: when the last answer came.
        outcome: accepted, refused, or unknown: nobody said, or the API said that it does not know.
        status: HTTP status of the last answer; 0 when there was none.
        version: of the aggregate, as an acceptance told it.
        position: where its event stands, as an acceptance told it.
        code: why it was refused.
        attempts: how often it was sent.
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


@dataclass(frozen=True, slots=True)
class Effect:
    """A counted event in the log that carries a mark."""

    mark: str
    user: str
    version: int
    position: str


def write_history(path: Path, operations: Iterable[Operation], effects: Iterable[Effect]) -> None:
    """Keep both, one a line."""
    with path.open("wb") as file:
        for kind, rows in (("operation", operations), ("effect", effects)):
            for row in rows:
                file.write(orjson.dumps({kind: asdict(row)}) + b"\n")


def read_history(path: Path) -> tuple[list[Operation], list[Effect]]:
    """What `write_history` kept."""
    lines = list(_lines(path))
    operations = [Operation(**line["operation"]) for line in lines if "operation" in line]
    return operations, [Effect(**line["effect"]) for line in lines if "effect" in line]


def _lines(path: Path) -> Iterator[dict[str, dict[str, Any]]]:
    with path.open("rb") as file:
        for line in file:
            yield orjson.loads(line)
