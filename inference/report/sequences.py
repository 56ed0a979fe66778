"""Whether every answer that was given is on record: each server numbers its answers without gaps.

One byte is kept for each answer, in pages that exist only where there were answers, so numbers that make no sense
cost no memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

PAGE = 1 << 16
MOST_GAPS = 20
"""Gaps that are listed for a server; all are counted."""

EDGE = 2_000
"""Numbers below a server's highest that may still be on their way to the log while it serves."""

OPEN_S = 60
"""A server that answered this shortly before the end of the period may have records on their way."""


@dataclass(frozen=True)
class Gap:
    """Numbers that are not on record, first and last included."""

    first: int
    last: int

    @property
    def count(self) -> int:
        """How many."""
        return self.last - self.first + 1


@dataclass(frozen=True)
class Numbered:
    """The answers of one start of a server.

    Attributes:
        first: lowest number on record in the period.
        last: highest.
        recorded: answers on record, each once.
        gaps: numbers between that are missing, the first `MOST_GAPS` runs of them.
        missing: how many numbers are missing in all.
        open: missing ones that may still come: the server answered in the last minute of the period.
    """

    server: str
    first: int
    last: int
    recorded: int
    gaps: tuple[Gap, ...]
    missing: int
    open: int


@dataclass
class _Server:
    pages: dict[int, NDArray[np.bool_]] = field(default_factory=dict)
    first: int = 0
    last: int = 0
    recorded: int = 0
    newest_s: int = 0


class Sequences:
    """What is on record of every server."""

    def __init__(self) -> None:
        self._servers: dict[str, _Server] = {}

    def take(self, table: pl.DataFrame, *, lead_in: bool = False) -> pl.Series:
        """The next answers; whether each is on record for the first time.

        Args:
            table: with `server`, `sequence` and `served_at`.
            lead_in: these are of before the period: they fill gaps, and are not counted.
        """
        is_new = np.zeros(len(table), bool)
        for (name,), rows in table.with_row_index("_place").group_by("server", maintain_order=True):
            server = self._servers.setdefault(str(name), _Server())
            places, numbers = rows["_place"].to_numpy(), rows["sequence"].to_numpy()
            fresh = _mark(server.pages, numbers)
            is_new[places[fresh]] = True
            if not lead_in:
                _count(server, numbers[fresh])
                newest: int = rows["served_at"].dt.epoch("s").max()  # type: ignore[assignment]
                server.newest_s = max(server.newest_s, newest)
        return pl.Series(is_new)

    def found(self, until_s: float, *, from_start: bool) -> list[Numbered]:
        """What each server numbered.

        Args:
            until_s: end of the period, in seconds since 1970.
            from_start: the period begins with the log, so numbers begin with 1.
        """
        return [
            _numbered(name, server, until_s, from_start)
            for name, server in sorted(self._servers.items())
            if server.recorded
        ]


def _mark(pages: dict[int, NDArray[np.bool_]], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Mark these numbers; places of those that were not marked yet."""
    unique, places = np.unique(numbers, return_index=True)
    fresh: list[NDArray[np.int64]] = []
    for page in np.unique(unique // PAGE):
        inside = unique // PAGE == page
        bits = pages.setdefault(int(page), np.zeros(PAGE, bool))
        slots = unique[inside] % PAGE
        fresh.append(places[inside][~bits[slots]])
        bits[slots] = True
    return np.sort(np.concatenate(fresh)) if fresh else np.zeros(0, np.int64)


def _count(server: _Server, numbers: NDArray[np.int64]) -> None:
    if len(numbers) == 0:
        return
    low, high = int(numbers.min()), int(numbers.max())
    server.first = min(server.first, low) if server.recorded else low
    server.last = max(server.last, high)
    server.recorded += len(numbers)


def _numbered(name: str, server: _Server, until_s: float, from_start: bool) -> Numbered:
    is_open = until_s - server.newest_s <= OPEN_S
    listed: list[Gap] = []
    missing = late = 0
    for gap in _gaps(server.pages, 1 if from_start else server.first, server.last):
        if is_open and gap.first > server.last - EDGE:
            late += gap.count
            continue
        missing += gap.count
        if len(listed) < MOST_GAPS:
            listed.append(gap)
    return Numbered(name, server.first, server.last, server.recorded, tuple(listed), missing, late)


def _gaps(pages: dict[int, NDArray[np.bool_]], first: int, last: int) -> Iterator[Gap]:
    """Runs of numbers from `first` to `last` that are not marked."""
    before = first - 1
    for page in sorted(pages):
        numbers = np.flatnonzero(pages[page]) + page * PAGE
        numbers = numbers[(numbers >= first) & (numbers <= last)]
        chain = np.concatenate([[before], numbers])
        for at in np.flatnonzero(np.diff(chain) > 1):
            yield Gap(int(chain[at]) + 1, int(chain[at + 1]) - 1)
        before = int(chain[-1])
