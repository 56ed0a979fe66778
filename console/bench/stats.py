"""Numbers about numbers: percentiles, medians with their range, ratios of runs that were measured side by side."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

Better = Literal["lower", "higher"]


@dataclass(frozen=True)
class Spread:
    """The runs of one measurement.

    Attributes:
        median: middle run, or the mean of the two in the middle.
        least: smallest run.
        most: largest run.
    """

    median: float
    least: float
    most: float


def spread(runs: Sequence[float]) -> Spread:
    """Median and range of some runs.

    Raises:
        ValueError: there are none.
    """
    if not runs:
        raise ValueError("a measurement without a run has no median")
    return Spread(median(runs), min(runs), max(runs))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of `values` that at least this share of them does not exceed: one that really occurred.

    Args:
        values: in any order.
        share: over 0, at most 1; 0.99 for p99.

    Raises:
        ValueError: there are no values, or the share is none.

    Source: nearest-rank percentile, Hyndman and Fan 1996, definition 1.
    """
    if not values or not 0 < share <= 1:
        raise ValueError(f"no percentile {share} of {len(values)} values")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def advantage(ours: Sequence[float], theirs: Sequence[float], better: Better) -> Spread:
    """How many times better we were, run by run: over 1 is to our favour.

    Runs are compared in pairs, because the two of a pair were measured one right after the other.

    Args:
        better: which direction counts as better; times are better low, rates high.

    Raises:
        ValueError: the numbers of runs differ, there are none, or one is not positive.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} runs cannot be compared with {len(theirs)} one by one")
    if any(value <= 0 for value in (*ours, *theirs)):
        raise ValueError("only positive measurements have a ratio")
    pairs = zip(ours, theirs, strict=True)
    return spread([mine / other if better == "higher" else other / mine for mine, other in pairs])
