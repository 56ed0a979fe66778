"""Few events, as objects: the way of the live end of the log, where a batch holds a handful."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from infra.kafka.records import Raw
from projections.batch import Batch, Staged
from projections.staging import row_maker
from projections.view import View
from schemas.envelope import Recorded
from schemas.identity import CLIENT_CHOSEN


@dataclass(frozen=True)
class Few:
    """Events beside the records that they came as; see `batch.Held`."""

    events: Sequence[Recorded]
    records: Sequence[Raw]

    def __len__(self) -> int:
        """See `Held`."""
        return len(self.events)

    def within(self, first: Mapping[int, int], ends: Mapping[int, int]) -> "Few":
        """See `Held`."""
        return self._where(lambda e: first.get(e.position.partition, 0) <= e.position.offset < _end(ends, e))

    def of_keys(self, keys: Collection[str]) -> "Few":
        """See `Held`."""
        return self._where(lambda event: event.meta.subject in keys)

    def without_keys(self, keys: Collection[str]) -> "Few":
        """See `Held`."""
        return self._where(lambda event: event.meta.subject not in keys)

    def without_places(self, places: Collection[tuple[int, int]]) -> "Few":
        """See `Held`."""
        return self._where(lambda event: (event.position.partition, event.position.offset) not in places)

    def places(self) -> list[tuple[int, int]]:
        """See `Held`."""
        return [(event.position.partition, event.position.offset) for event in self.events]

    def raws(self) -> list[Raw]:
        """See `Held`."""
        return list(self.records)

    def recorded(self, types: Collection[type[Any]]) -> list[Recorded]:
        """See `Held`."""
        return [event for event in self.events if type(event.event) in types]

    def staged(self, view: View) -> Staged:
        """See `Held`."""
        makers = _makers(view)
        wanted = [event for event in self.events if type(event.event) in makers]
        rows = [makers[type(event.event)](event) for event in wanted]
        return Staged(rows=rows, repeats=any(event.meta.id.version == CLIENT_CHOSEN for event in wanted))

    def _where(self, holds: Callable[[Recorded], bool]) -> "Few":
        kept = [i for i, event in enumerate(self.events) if holds(event)]
        return Few([self.events[i] for i in kept], [self.records[i] for i in kept])


def batch_of(topic: str, events: Sequence[Recorded], records: Sequence[Raw]) -> Batch:
    """Events of one topic that are at hand, as the reader would hand them out.

    Args:
        records: that they came as; none where nobody will ask for them.
    """
    first: dict[int, int] = {}
    ends: dict[int, int] = {}
    for event in events:
        first.setdefault(event.position.partition, event.position.offset)
        ends[event.position.partition] = event.position.offset + 1
    return Batch(topic, first, ends, Few(events, records))


def _end(ends: Mapping[int, int], event: Recorded) -> int:
    return ends.get(event.position.partition, 0)


@cache
def _makers(view: View) -> Mapping[type[Any], Callable[[Recorded], tuple[Any, ...]]]:
    return {event: row_maker(view, event) for event in view.reads}
