"""A request about dead letters, as it stands in the log, and what is said of it afterwards."""

from dataclasses import dataclass
from typing import TypeAlias

from infra.kafka.deadletters import letter_id
from projections.parked import Parked
from projections.view import Projection
from schemas.deadletters import (
    RecordRecovered,
    RecordSkipped,
    RequestSettled,
    RetryFailed,
    RetryRequested,
    SkipRequested,
)
from schemas.envelope import Meta
from schemas.position import Position

Outcome: TypeAlias = RecordRecovered | RecordSkipped | RetryFailed | RequestSettled


@dataclass(frozen=True)
class Request:
    """What was asked.

    Attributes:
        asked: the fact.
        meta: of the fact; its id names the request.
        position: of the fact.
    """

    asked: RetryRequested | SkipRequested
    meta: Meta
    position: Position

    @property
    def id(self) -> str:
        """Names the request."""
        return str(self.meta.id)

    @property
    def reason(self) -> str | None:
        """Why records are to be left out; None when they are to be tried again."""
        return self.asked.reason if isinstance(self.asked, SkipRequested) else None

    @property
    def selection(self) -> str:
        """Which records are meant, for people."""
        for name in ("position", "key", "code"):
            value: str | None = getattr(self.asked, name)
            if value is not None:
                return f"{name} {value}"
        return "all"


@dataclass(frozen=True)
class Sums:
    """What a request has led to.

    Attributes:
        recovered: poison events taken at last.
        failed: poison events that still cannot be taken.
        skipped: poison events left out.
        released: events that had waited and have been taken.
    """

    recovered: int = 0
    failed: int = 0
    skipped: int = 0
    released: int = 0


def told_of(projection: Projection, event: Parked) -> dict[str, str]:
    """What every outcome says of its event."""
    return {
        "letter_id": str(letter_id(projection.name, event.position, projection.version)),
        "view": projection.name,
        "position": str(event.position),
        "key": event.key,
    }
