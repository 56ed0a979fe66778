"""What a fit tells of itself while it works: steps, epochs, what its dataset is, how good it came out.

A model's `fit` is pure, and telling how far it is changes nothing in what comes out of it: whoever loops over epochs
says so with `epoch`, and whoever wants to know listens.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, TypeAlias

from inference.datasets.manifest import Manifest

Step: TypeAlias = Literal["reading", "fitting", "evaluating", "storing"]

SHARES: Mapping[Step, tuple[float, float]] = {
    "reading": (0.0, 40.0),
    "fitting": (40.0, 70.0),
    "evaluating": (70.0, 95.0),
    "storing": (95.0, 100.0),
}
"""From how many percent of a run to how many each step goes, by and large."""


@dataclass(frozen=True)
class Progressed:
    """How far it is.

    Attributes:
        done: offsets read, or epochs.
        total: of them; 0 when that is not known.
        size_bytes: of the records read.
    """

    step: Step
    done: int = 0
    total: int = 0
    size_bytes: int = 0

    @property
    def percent(self) -> float:
        """How much of the whole run that is."""
        first, last = SHARES[self.step]
        return first + (last - first) * (min(self.done / self.total, 1.0) if self.total else 0.0)


@dataclass(frozen=True)
class Built:
    """The dataset is there."""

    manifest: Manifest


@dataclass(frozen=True)
class Measured:
    """The model has been evaluated."""

    metrics: Mapping[str, float]


Telling: TypeAlias = Progressed | Built | Measured
Tell: TypeAlias = Callable[[Telling], None]

_listener: ContextVar[Callable[[int, int], None] | None] = ContextVar("epochs", default=None)


def epoch(done: int, total: int) -> None:
    """Say that a fit has come through so many of its epochs or iterations; without effect when nobody listens."""
    listener = _listener.get()
    if listener is not None:
        listener(done, total)


@contextmanager
def epochs(listener: Callable[[int, int], None]) -> Iterator[None]:
    """Hear what `epoch` says meanwhile."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def silent(_: Telling) -> None:
    """Tell nobody."""
