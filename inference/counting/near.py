"""What to show next to a history, from the counts of what follows what: the answer that needs no trained model.

Serving asks for the rows that are kept live, an explanation counts them anew from the log; both score them here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from inference.counting.pairs import KEPT
from inference.history import history_weights
from inference.interactions import Int64Array

RECENT = 32
"""Newest items of a history that are looked at; with the decay below, the next one would weigh less than 0.001."""

DECAY = 0.8
"""Weight of an interaction relative to the one after it."""

CANDIDATES = 200
"""Items offered at most."""


@dataclass(frozen=True, slots=True)
class Row:
    """What followed an item.

    Attributes:
        total: of all counts, also of those that are not kept.
        others: the items that followed most, with their counts; equal ones by id.
    """

    total: int
    others: tuple[tuple[str, int], ...]


def row_of(counts: Mapping[str, int], total: int | None = None) -> Row:
    """As it is kept.

    Args:
        total: of all counts, where these are not all.
    """
    others = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:KEPT]
    return Row(sum(counts.values()) if total is None else total, tuple(others))


def top_row(others: Int64Array, times: Int64Array, name: Callable[[int], str]) -> Row:
    """The same from numbers of items, each once; only those that can be among the kept are put in order."""
    total = int(times.sum())
    if len(times) > KEPT:
        enough = times >= np.partition(times, -KEPT)[-KEPT]
        others, times = others[enough], times[enough]
    return row_of({name(other): n for other, n in zip(others.tolist(), times.tolist(), strict=True)}, total)


def recent(history: Sequence[str]) -> dict[str, float]:
    """The items of a history that are looked at and their weights, oldest first; a repeated one where it was last."""
    items = list(dict.fromkeys(reversed(history)))[:RECENT][::-1]
    return dict(zip(items, history_weights(len(items), DECAY).tolist(), strict=True))


def near(history: Sequence[str], rows: Mapping[str, Row]) -> list[tuple[str, float]]:
    """Items by how much of what followed the history's items they are, most first; equal ones by id."""
    scores: dict[str, float] = {}
    for share in contributions(history, rows).values():
        for other, value in share.items():
            scores[other] = scores.get(other, 0.0) + value
    rounded = ((item, float(np.float32(score))) for item, score in scores.items())
    return sorted(rounded, key=lambda pair: (-pair[1], pair[0]))[:CANDIDATES]


def contributions(history: Sequence[str], rows: Mapping[str, Row]) -> dict[str, dict[str, float]]:
    """For each item of the history, oldest first, what it adds to the score of which item."""
    return {
        item: {other: weight * (count / rows[item].total) for other, count in rows[item].others}
        for item, weight in recent(history).items()
        if item in rows
    }
