"""Popularity that fades: how much each item was met, hour by hour, in whole numbers.

Weights that halve with age cannot be added up exactly as time goes on. So what is folded are the sums of each hour,
exact in any order, and the fading is computed from them when it is asked for, measured from the newest hour.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.counting.pairs import NOTHING, SHIFT, Counts, summed

HOUR_US = 3_600_000_000

UNIT = 1 << 20
"""Parts of an interaction of weight 1: weights are rounded to these."""

EPOCH = 1 << (SHIFT - 1)
"""Number of the hour that began in 1970; those before it come before."""

NOTHING_MET: Counts = NOTHING


def folded(before: Counts, item: NDArray[Any], at_us: NDArray[Any], weight: NDArray[Any]) -> Counts:
    """The sums of each item and hour after some more interactions.

    Args:
        before: `NOTHING_MET` at first.
        item: item index of each.
        at_us: when it happened, microseconds since the epoch.
        weight: how much it says.
    """
    keys = (item.astype(np.int64) << SHIFT) | (at_us // HOUR_US + EPOCH)
    return before.plus(summed(keys, np.rint(weight.astype(np.float64) * UNIT).astype(np.int64)))


def faded(sums: Counts, n_items: int, half_life_days: float) -> NDArray[np.float64]:
    """The weight of each item, shape (n_items,).

    Args:
        half_life_days: what was met this much before the newest hour counts half; 0 counts all alike.
    """
    items, hours = sums.keys >> SHIFT, sums.keys & ((1 << SHIFT) - 1)
    weights = sums.counts / UNIT
    if half_life_days and len(hours):
        weights *= np.exp2(-(hours.max() - hours) / (half_life_days * 24))
    return np.bincount(items, weights, minlength=n_items).astype(np.float64)
