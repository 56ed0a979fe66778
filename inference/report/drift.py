"""Whether something has moved: how unlike two distributions are, and whether chance alone would do it."""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.stats import chi2

SLIGHT, MARKED = 0.1, 0.25
"""Where a shift counts as slight, and as marked: the customary thresholds."""

CHANCE = 0.01
"""How often pure chance may be taken for a shift."""

LEAST = 30
"""Events that each side needs to be judged."""

FLOOR = 0.5
"""Least count of a bin: an empty one counts as half an event, or the logarithm would not be finite."""

Verdict = Literal["steady", "slight", "marked", "too few"]


@dataclass(frozen=True)
class Shift:
    """Two distributions over the same bins.

    Attributes:
        baseline: counts before.
        rest: counts since.
        psi: population stability index, see `psi`; 0 when there were too few events.
        chance: what chance alone exceeds once in a hundred times, given these many events.
    """

    baseline: Mapping[str, int]
    rest: Mapping[str, int]
    psi: float
    chance: float
    verdict: Verdict


def shift(baseline: Mapping[str, int], rest: Mapping[str, int]) -> Shift:
    """Compare two distributions.

    A shift is told only when the index is above its threshold and above what chance alone would do. Under no shift the
    index times n m / (n + m) follows a chi-square distribution with one degree of freedom less than there are bins.

    Source: Yurdakul and Naranjo 2020, Statistical properties of the population stability index.
    """
    before, since = sum(baseline.values()), sum(rest.values())
    if before < LEAST or since < LEAST:
        return Shift(baseline, rest, 0.0, 0.0, "too few")
    found = psi(baseline, rest)
    bins = len({name for side in (baseline, rest) for name, count in side.items() if count})
    chance = float(chi2.ppf(1 - CHANCE, bins - 1)) * (1 / before + 1 / since) if bins > 1 else 0.0
    verdict: Verdict = "steady"
    if found > max(SLIGHT, chance):
        verdict = "marked" if found > MARKED else "slight"
    return Shift(baseline, rest, found, chance, verdict)


def psi(expected: Mapping[str, int], observed: Mapping[str, int]) -> float:
    """Population stability index of two histograms.

    Args:
        expected: counts before, by bin.
        observed: counts since, by bin.

    Returns:
        PSI in nats, 0 or more; 0 when the shares agree.

    Raises:
        ValueError: a histogram is empty.

    Source: the symmetrised Kullback-Leibler divergence (Jeffreys 1946).
    """
    before, since = sum(expected.values()), sum(observed.values())
    if not before or not since:
        raise ValueError("a histogram without counts has no shares")
    parts = []
    for name in sorted(expected.keys() | observed.keys()):
        p = max(expected.get(name, 0), FLOOR) / before
        q = max(observed.get(name, 0), FLOOR) / since
        parts.append((q - p) * math.log(q / p))
    return math.fsum(parts)


def deciles(
    baseline: Mapping[int, int], rest: Mapping[int, int], bins: int = 10
) -> tuple[list[int], dict[str, int], dict[str, int]]:
    """Fine bins joined into about ten that held equally many events before; named by their order, from 0.

    Args:
        baseline: counts by fine bin, which decide where one joined bin ends.
        rest: counts by fine bin since; what lies outside the bins of before falls into the first and last.

    Returns:
        The last fine bin of each joined one but the last; the counts before; the counts since.
    """
    total, passed = sum(baseline.values()), 0
    ends: list[int] = []
    for place in sorted(baseline):
        passed += baseline[place]
        if passed * bins >= total * (len(ends) + 1) and len(ends) < bins - 1 and passed < total:
            ends.append(place)
    return ends, _joined(baseline, ends), _joined(rest, ends)


def _joined(counts: Mapping[int, int], ends: Sequence[int]) -> dict[str, int]:
    found = {str(number): 0 for number in range(len(ends) + 1)}
    for place, count in counts.items():
        found[str(bisect_left(ends, place))] += count
    return found
