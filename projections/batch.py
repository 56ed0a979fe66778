"""A piece of one topic, ready to be folded."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

from infra.kafka.records import Raw
from projections.view import View
from schemas.envelope import Recorded


class Held(Protocol):
    """The events of a batch, as objects where they are few (`few`) and as columns where they are many (`many`).

    Both give the same rows. What counts by the rule and is the tenant's is held; nothing else.
    """

    def __len__(self) -> int:
        """Events."""
        ...

    def within(self, first: Mapping[int, int], ends: Mapping[int, int]) -> Self:
        """Those of these partitions that stand at `first` or later, and before `ends`."""
        ...

    def of_keys(self, keys: Collection[str]) -> Self:
        """Those with one of these keys."""
        ...

    def without_keys(self, keys: Collection[str]) -> Self:
        """Those with another key."""
        ...

    def without_places(self, places: Collection[tuple[int, int]]) -> Self:
        """Those that stand elsewhere; a place is partition and offset."""
        ...

    def places(self) -> list[tuple[int, int]]:
        """Partition and offset of each, in the order of each partition."""
        ...

    def raws(self) -> list[Raw]:
        """As records of the log, in the same order; headers that mean nothing to us may be missing."""
        ...

    def recorded(self, types: Collection[type[Any]]) -> list[Recorded]:
        """Those of these classes, in the same order."""
        ...

    def staged(self, view: View) -> "Staged":
        """As rows of the staged batch of a view."""
        ...


@dataclass(frozen=True, slots=True)
class Unread:
    """A record that counts and cannot be read, and why."""

    raw: Raw
    fault: Exception

    @property
    def place(self) -> tuple[int, int]:
        """Partition and offset."""
        return self.raw.partition, self.raw.offset


@dataclass(frozen=True)
class Staged:
    """Rows for the staged batch of a view, in the columns that `staging.columns` names.

    Attributes:
        rows: as Python values.
        lines: as CSV, texts in quotes and nulls empty.
        repeats: whether some may be repeats: facts under an id that a client chose.
    """

    rows: Sequence[Sequence[Any]] = ()
    lines: Sequence[bytes] = ()
    repeats: bool = False

    @property
    def empty(self) -> bool:
        """Whether there is nothing to stage."""
        return not self.rows and not self.lines


@dataclass(frozen=True)
class Batch:
    """Consecutive records of some partitions of one topic.

    Attributes:
        first: per partition, the offset that the reader stood at.
        ends: per partition, the offset after the last record, whether that record was an event or not.
        held: what counts.
        unread: what counts and cannot be read, in the order of each partition.
    """

    topic: str
    first: Mapping[int, int]
    ends: Mapping[int, int]
    held: Held = field(repr=False)
    unread: Sequence[Unread] = ()

    def __len__(self) -> int:
        """Events in it."""
        return len(self.held)

    def beyond(self, reached: Mapping[int, int]) -> "Batch":
        """What of it a fold that has reached these offsets has yet to see."""
        if all(self.first[p] >= reached[p] for p in self.ends):
            return self
        ends = {p: end for p, end in self.ends.items() if end > reached[p]}
        return self._part({p: max(self.first[p], reached[p]) for p in ends}, ends)

    def below(self, ends: Mapping[int, int]) -> "Batch":
        """What of it stands before these offsets; partitions that have nothing there are not in it."""
        limits = {p: min(end, ends[p]) for p, end in self.ends.items() if ends.get(p, 0) > self.first[p]}
        return self if limits == self.ends else self._part(self.first, limits)

    def halves(self) -> tuple["Batch", "Batch"]:
        """The same in two pieces, the first with half of the events; there must be two at least."""
        cut: dict[int, int] = dict(self.first)
        for partition, offset in self.held.places()[: len(self) // 2]:
            cut[partition] = offset + 1
        return self._part(self.first, cut), self._part(cut, self.ends)

    def without_events(self) -> "Batch":
        """The same stretch of the log with nothing in it."""
        return replace(self, held=self.held.of_keys(()), unread=())

    def of_keys(self, keys: Collection[str]) -> "Batch":
        """The same stretch of the log with the events of these keys alone."""
        return replace(self, held=self.held.of_keys(keys))

    def without_keys(self, keys: Collection[str]) -> "Batch":
        """The same stretch of the log without the events of these keys."""
        return replace(self, held=self.held.without_keys(keys)) if keys else self

    def without_places(self, places: Collection[tuple[int, int]]) -> "Batch":
        """The same stretch of the log without what stands at these places: partition and offset."""
        if not places:
            return self
        unread = [one for one in self.unread if one.place not in places]
        return replace(self, held=self.held.without_places(places), unread=unread)

    def raws(self) -> list[Raw]:
        """See `Held`."""
        return self.held.raws()

    def recorded(self, types: Collection[type[Any]]) -> list[Recorded]:
        """See `Held`."""
        return self.held.recorded(types)

    def _part(self, first: Mapping[int, int], ends: Mapping[int, int]) -> "Batch":
        starts = {p: first[p] for p in ends}
        unread = [one for one in self.unread if starts.get(one.raw.partition, 0) <= one.raw.offset < _end(ends, one)]
        return Batch(self.topic, starts, dict(ends), self.held.within(starts, ends), unread)


def _end(ends: Mapping[int, int], one: Unread) -> int:
    return ends.get(one.raw.partition, 0)
