"""What follows what: weighted counts of ordered pairs of items, the nearer in a history the heavier.

The weights are whole numbers, so a sum does not depend on the order in which it is added up, and a fold event by event
equals a count from scratch exactly.

Source: sequential rules, Kamehkhosh, Jannach and Ludewig 2017 (A comparison of frequent pattern techniques and a deep
learning method for session-based recommendation), there with weight 1 over the distance.
"""

import math
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
    keys, counts = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for distance, weight in enumerate(WEIGHTS, start=1):
        first, second = item[:-distance], item[distance:]
        counts_here = (user[:-distance] == user[distance:]) & (first != second) & (first >= 0) & (second >= 0)
        if fresh is not None:
            counts_here &= fresh[distance:]
        pairs = (first[counts_here].astype(np.int64) << SHIFT) | second[counts_here]
        keys.append(pairs)
        counts.append(np.full(len(pairs), weight, np.int64))
    return summed(np.concatenate(keys), np.concatenate(counts))
