"""Records that a reader could not take, and what became of them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from inference.report.scope import Scope
from schemas.deadletters import RecordDeadLettered, RecordRecovered, RecordSkipped
from schemas.envelope import Recorded

MOST_LISTED = 50


@dataclass(frozen=True)
class Letter:
    """A record that was put aside. Neither its key nor its content is told: both may speak of a person.

    Attributes:
        of: position of the record.
        position: of the letter.
        end: how it ended: recovered, skipped, or open.
    """

    consumer: str
    code: str
    of: str
    at: datetime
    position: str
    end: str


class Letters:
    """The fold of `dead-letters` over the period: how each ended is read up to its end."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._heard: list[tuple[Recorded, RecordDeadLettered]] = []
        self._ends: dict[tuple[str, str], str] = {}
        self.counts: Counter[tuple[str, str]] = Counter()

    def hear(self, one: Recorded) -> None:
        """The next event of the topic, of the period."""
        match one.event:
            case RecordDeadLettered() as letter:
                self.counts[letter.consumer, letter.code] += 1
                if len(self._heard) < MOST_LISTED:
                    self._heard.append((one, letter))
            case RecordRecovered(view=view, position=position):
                self._ends[view, position] = "recovered"
            case RecordSkipped(view=view, position=position):
                self._ends[view, position] = "skipped"

    def found(self) -> list[Letter]:
        """The first letters of the period, in order of time."""
        letters = [self._letter(one, event) for one, event in self._heard]
        return sorted(letters, key=lambda letter: (letter.at, letter.position))

    def summary(self) -> list[Mapping[str, Any]]:
        """How many there were of each reader and cause."""
        return [{"consumer": who, "code": code, "count": n} for (who, code), n in sorted(self.counts.items())]

    def _letter(self, one: Recorded, event: RecordDeadLettered) -> Letter:
        of = event.position or f"{event.topic}/{event.partition}/{event.offset}"
        end = self._ends.get((event.consumer, of), "open")
        return Letter(event.consumer, event.code, of, one.meta.time, str(one.position), end)
