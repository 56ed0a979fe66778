"""Cutting interactions into what a model may learn and what it has to predict."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.interactions import Interactions
from schemas.errors import Invalid


def by_time(data: Interactions, share: float) -> tuple[Interactions, Interactions]:
    """One cut in time for everybody: the latest `share` of the interactions is the test.

    What happened at the cut itself is test, so that nothing in the training part is later than anything tested.

    Raises:
        Invalid: nothing would be left on one side.
    """
    times = np.sort(data.occurred_at)
    cut = times[min(round(len(times) * (1 - share)), len(times) - 1)] if len(times) else 0
    return _cut(data, data.occurred_at >= cut)


def at_random(data: Interactions, share: float, seed: int) -> tuple[Interactions, Interactions]:
    """A random `share` as the test: the protocol of many published tables; it lets the future leak into training.

    Raises:
        Invalid: nothing would be left on one side.
    """
    return _cut(data, np.random.default_rng(seed).random(len(data)) < share)


def last_of_each(data: Interactions) -> tuple[Interactions, Interactions]:
    """The last interaction of each user as the test: the leave-one-out protocol of sequence models.

    Raises:
        Invalid: no user has more than one interaction.
    """
    rows = data.chronological()
    user = data.user[rows]
    last = np.append(user[1:] != user[:-1], True)
    test = np.zeros(len(data), bool)
    test[rows[last]] = True
    return _cut(data, test)


def _cut(data: Interactions, test: NDArray[Any]) -> tuple[Interactions, Interactions]:
    if len(data) == 0 or test.all() or not test.any():
        raise Invalid("the split leaves nothing to train on or nothing to test: use more data", code="empty_split")
    return data.select(~test), data.select(test)
