"""What was measured: a number per run, what was asked of it, and what others reached in the same run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from console.bench.stats import Better, Spread, advantage, spread

OURS = "retrace"

Sample = Mapping[str, float]
"""What one run gave, by name."""

Samples = Mapping[str, Sequence[Sample]]
"""The runs of everybody who took part, by participant; run by run in the same order."""


@dataclass(frozen=True)
class Goal:
    """What is asked of a figure.

    Attributes:
        limit: the least or the most, as `better` says.
    """

    limit: float
    better: Better

    def reached(self, value: float) -> bool:
        """Whether a value is good enough."""
        return value >= self.limit if self.better == "higher" else value <= self.limit


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measurement of ours.

    Attributes:
        section: where it was measured.
        name: what it is.
        unit: of the numbers.
        better: which direction is better.
        runs: what we reached, run by run.
        asked: the goal; None where none is set.
        peers: what others reached in the same runs.
        note: what a reader should know of it.
    """

    section: str
    name: str
    unit: str
    better: Better
    runs: Sequence[float]
    asked: Goal | None = None
    peers: Mapping[str, Sequence[float]] = field(default_factory=dict)
    note: str = ""

    @property
    def reached(self) -> Spread:
        """Our runs in three numbers."""
        return spread(self.runs)

    @property
    def missed(self) -> bool:
        """Whether the median is not what was asked."""
        return self.asked is not None and not self.asked.reached(self.reached.median)

    def advantage_over(self, peer: str) -> Spread | None:
        """How many times better than a peer; None when that cannot be said of these numbers."""
        try:
            return advantage(self.runs, self.peers[peer], self.better)
        except ValueError:
            return None


def at_most(limit: float) -> Goal:
    """Less is better, and this much is allowed."""
    return Goal(limit, "lower")


def at_least(limit: float) -> Goal:
    """More is better, and this much is asked."""
    return Goal(limit, "higher")


def runs_of(samples: Samples, who: str, key: str) -> list[float]:
    """One number of every run of a participant."""
    return [sample[key] for sample in samples[who]]


def peers_of(samples: Samples, key: str) -> dict[str, list[float]]:
    """One number of every run of everybody else; those who did not measure it are left out."""
    return {
        who: runs_of(samples, who, key)
        for who, runs in samples.items()
        if who != OURS and all(key in sample for sample in runs)
    }


def number(value: float) -> str:
    """Three digits or all before the point, thousands apart."""
    size = abs(value)
    if size >= 100 or value == int(value):
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}"
