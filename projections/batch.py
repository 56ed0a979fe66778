"""A piece of one topic, ready to be folded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from infra.kafka.records import Raw
from schemas.envelope import Recorded


@dataclass(frozen=True)
class Batch:
    """Consecutive records of some partitions of one topic.

    Attributes:
        first: per partition, the offset that the reader stood at.
        ends: per partition, the offset after the last record, whether that record was an event or not.
        events: what counts, in the order of each partition.
        raws: the same records as they stand in the log, in the same order.
        read_at: per partition, when its first record was written, seconds since 1970.
    """

    topic: str
    first: Mapping[int, int]
    ends: Mapping[int, int]
    events: Sequence[Recorded] = ()
    raws: Sequence[Raw] = ()
    read_at: Mapping[int, float] = field(default_factory=dict)

    def beyond(self, reached: Mapping[int, int]) -> "Batch":
        """What of it a fold that has reached these offsets has yet to see."""
        ends = {p: end for p, end in self.ends.items() if end > reached[p]}
        if all(self.first[p] >= reached[p] for p in self.ends):
            return self
        kept = [i for i, e in enumerate(self.events) if e.position.offset >= reached[e.position.partition]]
        first = {p: max(self.first[p], reached[p]) for p in ends}
        return self._part(first, ends, kept)

    def below(self, ends: Mapping[int, int]) -> "Batch":
        """What of it stands before these offsets; partitions that are not named end where they begin."""
        limits = {p: min(end, max(ends.get(p, 0), self.first[p])) for p, end in self.ends.items()}
        kept = [i for i, e in enumerate(self.events) if e.position.offset < limits[e.position.partition]]
        return self._part(self.first, limits, kept)

    def halves(self) -> tuple["Batch", "Batch"]:
        """The same in two pieces, the first with half of the events; there must be two at least."""
        middle = len(self.events) // 2
        cut: dict[int, int] = dict(self.first)
        for event in self.events[:middle]:
            cut[event.position.partition] = event.position.offset + 1
        return (
            self._part(self.first, cut, range(middle)),
            self._part(cut, self.ends, range(middle, len(self.events))),
        )

    def without_events(self) -> "Batch":
        """The same stretch of the log with nothing in it."""
        return self._part(self.first, self.ends, ())

    def _part(self, first: Mapping[int, int], ends: Mapping[int, int], kept: Sequence[int]) -> "Batch":
        events, raws = [self.events[i] for i in kept], [self.raws[i] for i in kept]
        return Batch(self.topic, {p: first[p] for p in ends}, ends, events, raws, self.read_at)
