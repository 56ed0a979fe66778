"""What follows what: weighted counts of ordered pairs of items, the nearer in a history the heavier.

The weights are whole numbers, so a sum does not depend on the order in which it is added up, and a fold event by event
equals a count from scratch exactly.

Source: sequential rules, Kamehkhosh, Jannach and Ludewig 2017 (A comparison of frequent pattern techniques and a deep
learning method for session-based recommendation), there with weight 1 over the distance.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.interactions import Int32Array, Int64Array

SPAN = 10
"""How many interactions later an item still counts as having followed."""

WEIGHTS = tuple(round(1000 / math.sqrt(distance)) for distance in range(1, SPAN + 1))
"""By distance in the history, 1 first, in thousandths of what the very next one counts."""

KEPT = 100
"""What followed an item most that is looked at when somebody is answered."""

DENSE = 4
"""Places for pairs that may be made for each pair that is counted, where every pair there could be has one."""

SHIFT = 32
"""A pair is one number: its first item times two to this power, plus its second."""


@dataclass(frozen=True, eq=False)
class Counts:
    """Weighted counts of pairs, sorted by pair, each pair once and none with the count 0."""

    keys: Int64Array
    counts: Int64Array

    def __len__(self) -> int:
        return len(self.keys)

    def plus(self, other: "Counts", times: int = 1) -> "Counts":
        """The sum; with `times` -1 the difference."""
        if not len(other):
            return self
        if not len(self):
            return other if times == 1 else Counts(other.keys, times * other.counts)
        return summed(np.concatenate([self.keys, other.keys]), np.concatenate([self.counts, times * other.counts]))

    def row(self, item: int) -> tuple[Int64Array, Int64Array]:
        """What followed an item, and how often."""
        start, end = np.searchsorted(self.keys, [item << SHIFT, (item + 1) << SHIFT])
        return self.keys[start:end] & ((1 << SHIFT) - 1), self.counts[start:end]


def summed(keys: Int64Array, counts: Int64Array) -> Counts:
    """Counts of these pairs, which may come in any order and more than once."""
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order]
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])) if len(keys) else np.zeros(0, np.int64)
    totals = np.add.reduceat(counts, starts) if len(keys) else counts
    kept = totals != 0
    return Counts(keys[starts][kept], totals[kept])


NOTHING = summed(np.zeros(0, np.int64), np.zeros(0, np.int64))


def counted(user: NDArray[Any], item: Int32Array, fresh: NDArray[np.bool_] | None = None) -> Counts:
    """Count the pairs of histories that stand one after another, each oldest first.

    Args:
        user: whose row it is.
        item: item index; a negative one is no item.
        fresh: count only pairs whose second item is one of these rows; None counts all.
    """
    base = int(item.max(initial=0)) + 1
    found = (_pairs(user, item, fresh, distance, base) for distance in range(1, SPAN + 1))
    pairs, totals = _totals(found, base * base, SPAN * len(item))
    return Counts(_keys(*np.divmod(pairs, base)), totals)


def counted_of(user: NDArray[Any], item: Int32Array, firsts: NDArray[np.bool_]) -> Counts:
    """Count only the pairs whose first item is one of these rows.

    Args:
        user, item: as for `counted`; no item is negative.
        firsts: mask of the rows.
    """
    places, base = np.flatnonzero(firsts), int(item.max(initial=0)) + 1
    names = np.flatnonzero(np.bincount(item[places], minlength=base))
    line = np.zeros(base, np.int64)
    line[names] = np.arange(len(names))
    lines = line[item[places]] * base
    found = (_pairs_of(user, item, places, lines, distance) for distance in range(1, SPAN + 1))
    pairs, totals = _totals(found, len(names) * base, SPAN * len(places))
    place, second = np.divmod(pairs, base)
    return Counts(_keys(names[place], second), totals)


def _pairs(
    user: NDArray[Any], item: Int32Array, fresh: NDArray[np.bool_] | None, distance: int, base: int
) -> Int64Array:
    """The pairs at this distance, each as its first item times `base` plus its second."""
    first, second = item[:-distance], item[distance:]
    counts = (user[:-distance] == user[distance:]) & (first != second) & (first >= 0) & (second >= 0)
    if fresh is not None:
        counts &= fresh[distance:]
    pairs: Int64Array = first[counts].astype(np.int64) * base + second[counts]
    return pairs


def _pairs_of(user: NDArray[Any], item: Int32Array, places: Int64Array, lines: Int64Array, distance: int) -> Int64Array:
    """The pairs at this distance whose first item stands at these places, each as its line plus its second."""
    places = places[: np.searchsorted(places, len(item) - distance)]
    later = places + distance
    second = item[later]
    counts = (user[places] == user[later]) & (item[places] != second)
    pairs: Int64Array = (lines[: len(places)] + second)[counts]
    return pairs


def _totals(found: Iterable[Int64Array], size: int, most: int) -> tuple[Int64Array, Int64Array]:
    """The pairs in order, each once, and their counts.

    Args:
        found: by distance.
        size: above all pairs.
        most: how many pairs there are at most.
    """
    return _counted_densely(found, size) if size <= DENSE * most else _counted_by_order(found)


def _counted_densely(found: Iterable[Int64Array], size: int) -> tuple[Int64Array, Int64Array]:
    """Where there are few items for so many pairs: a place for every pair there could be."""
    totals = np.zeros(size, np.int64)
    for pairs, weight in zip(found, WEIGHTS, strict=True):
        totals += np.bincount(pairs, minlength=size) * weight
    pairs = np.flatnonzero(totals)
    return pairs, totals[pairs]


def _counted_by_order(found: Iterable[Int64Array]) -> tuple[Int64Array, Int64Array]:
    """Else the pairs are put in order, each with its distance in its lowest bits: that is faster than any index."""
    codes = np.sort(np.concatenate([(pairs << 4) | place for place, pairs in enumerate(found)]))
    pairs = codes >> 4
    starts = np.flatnonzero(np.append(True, pairs[1:] != pairs[:-1])) if len(pairs) else np.zeros(0, np.int64)
    weights = np.array(WEIGHTS, np.int64)[codes & 15]
    return pairs[starts], np.add.reduceat(weights, starts) if len(starts) else weights


def _keys(first: Int64Array, second: Int64Array) -> Int64Array:
    return (first << SHIFT) | second
