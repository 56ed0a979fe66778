"""Counting events by time without keeping them: what a report about a hundred million answers has room for.

Times are counted in steps of a ladder, each step a multiple of the one below it; when a period turns out to be longer
than what the finest steps can hold, they are joined into coarser ones. So the result depends on the events alone, not
on the order or the pieces in which they came.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TypeAlias

LADDER_S = (1, 5, 15, 60, 300, 900, 3_600, 21_600, 86_400, 604_800, 2_419_200)
"""Lengths of a step, from a second to four weeks."""

MOST_STEPS = 120
PER_DOUBLING = 8
"""Bins of a logarithmic histogram for each doubling of the value: a bin is 9 % wide."""

FINE = 64
"""The same for a finer one: a bin is 1 % wide."""

Key: TypeAlias = tuple[Hashable, ...]


class Tally:
    """How many events of each key there were in each step of time."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[int, Key]] = Counter()
        self._rung = 0
        self._span: tuple[int, int] | None = None

    @property
    def step_s(self) -> int:
        """Length of a step of time now, in seconds."""
        return LADDER_S[self._rung]

    def widen(self, first_s: int, last_s: int) -> None:
        """Make room for events between two times, in seconds since 1970; joins steps when there are too many."""
        span = self._span or (first_s, last_s)
        self._span = span = (min(span[0], first_s), max(span[1], last_s))
        rung = self._rung
        while span[1] // LADDER_S[rung] - span[0] // LADDER_S[rung] >= MOST_STEPS and rung + 1 < len(LADDER_S):
            rung += 1
        if rung != self._rung:
            self._rung = rung
            joined: Counter[tuple[int, Key]] = Counter()
            for (start, key), count in self._counts.items():
                joined[start - start % self.step_s, key] += count
            self._counts = joined

    def add(self, start_s: int, key: Key, count: int = 1) -> None:
        """Count events; `widen` must have made room for their time."""
        self._counts[start_s - start_s % self.step_s, key] += count

    def totals(self, keys: Iterable[Key] | None = None) -> Counter[Key]:
        """Over all of the period."""
        found: Counter[Key] = Counter()
        wanted = None if keys is None else set(keys)
        for (_, key), count in self._counts.items():
            if wanted is None or key in wanted:
                found[key] += count
        return found

    def starts(self) -> list[int]:
        """The steps of time from the first event to the last, empty ones included; begin of each."""
        if self._span is None:
            return []
        first, last = (moment - moment % self.step_s for moment in self._span)
        return list(range(first, last + 1, self.step_s))

    def by_start(self) -> Iterator[tuple[int, Key, int]]:
        """Every count, in the order of time and key."""
        for (start, key), count in sorted(self._counts.items(), key=lambda pair: (pair[0][0], repr(pair[0][1]))):
            yield start, key, count


def moment(start_s: int) -> datetime:
    """A step's begin as a time."""
    return datetime.fromtimestamp(start_s, UTC)


def bin_value(place: float, per_doubling: int = PER_DOUBLING) -> float:
    """The value at a place of a logarithmic histogram: at `n` bin n begins, at `n + 0.5` is its middle."""
    return float(2.0 ** (place / per_doubling))


def quantile(histogram: Mapping[int, int], share: float) -> float | None:
    """A quantile of a logarithmic histogram, right to within half a bin (4.5 %); None of nothing."""
    total = sum(histogram.values())
    passed = 0
    for place in sorted(histogram):
        passed += histogram[place]
        if passed >= share * total:
            return bin_value(place + 0.5)
    return None
