"""Everybody's interactions in one partition, ready to be counted up to any offset.

A user's interactions are all in one partition, so the pairs of the whole log are those of its partitions together. The
rows stand by user and by time; what came at or behind an offset, and who may not be counted, is masked when asked.
"""

from collections.abc import Collection, Sequence
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.counting.gist import Gist
from inference.counting.names import Names
from inference.counting.pairs import NOTHING, Counts, counted_of
from inference.counting.seen import Seen
from inference.interactions import Int32Array, Int64Array

Meetings = tuple[Int32Array, Int32Array, Int64Array, Int64Array]
"""Numbers of users and items, times, offsets; in the order of the log."""


def meetings(gists: Sequence[Gist], users: Names, items: Names, seen: Seen, first: int = 0) -> Meetings:
    """What speaks for an item from offset `first` on, each once.

    Args:
        users, items, seen: take up what is new.
    """
    nothing = (np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64))
    found = [nothing, *(_meetings(gist, users, items, seen, first) for gist in gists)]
    user, item, at, offset = (np.concatenate(column) for column in zip(*found, strict=True))
    return user, item, at, offset


def _meetings(gist: Gist, users: Names, items: Names, seen: Seen, first: int) -> Meetings:
    offset, chosen = gist.numbers("offset"), gist.numbers("chosen")
    kept = offset >= first
    kept[kept] = seen.first(chosen[kept])
    kept &= gist.numbers("speaks")
    user, item = numbered(gist, "user", users), numbered(gist, "item", items)
    return user[kept], item[kept], gist.numbers("at")[kept], offset[kept]


def numbered(gist: Gist, column: str, names: Names) -> Int32Array:
    """A column of names as their numbers."""
    labels, which = gist.labels(column)
    return np.array([names.number(label) for label in labels], np.int32)[which]


class Histories:
    """The interactions of one partition.

    Args:
        users, items: numbers of their names; may be shared.

    Attributes:
        end: first offset that is not in it.
    """

    def __init__(self, users: Names, items: Names) -> None:
        self.end = 0
        self._users, self._items, self._seen = users, items, Seen()
        self._rows: Meetings = meetings([], users, items, self._seen)
        self._adding = Lock()

    def add(self, gists: Sequence[Gist], end: int) -> None:
        """Take what comes next, up to `end`; what is there already is passed over."""
        with self._adding:
            new = meetings(gists, self._users, self._items, self._seen, self.end)
            order = np.lexsort((new[2], new[0]))
            user, item, at, offset = new[0][order], new[1][order], new[2][order], new[3][order]
            old_user, old_item, old_at, old_offset = self._rows
            places = behind(old_user, old_at, user, at)
            self._rows = (
                np.insert(old_user, places, user),
                np.insert(old_item, places, item),
                np.insert(old_at, places, at),
                np.insert(old_offset, places, offset),
            )
            self.end = max(self.end, end)

    def followers(self, items: Collection[int], end: int, silent: Collection[int], gone: Collection[int]) -> Counts:
        """What followed these items before `end`.

        Args:
            silent: users who are not counted.
            gone: offsets of interactions that are supposed not to have happened.
        """
        user, item, _, offset = self._rows
        may = self._may(user, offset, end, silent, gone)
        if may is not None:
            user, item = user[may], item[may]
        wanted = np.zeros(len(self._items), np.bool_)
        wanted[list(items)] = True
        return counted_of(user, item, wanted[item]) if len(item) else NOTHING

    def _may(
        self, user: Int32Array, offset: Int64Array, end: int, silent: Collection[int], gone: Collection[int]
    ) -> NDArray[np.bool_] | None:
        """Which rows are counted; None for all."""
        masks: list[NDArray[Any]] = []
        if end < self.end:
            masks.append(offset < end)
        if silent:
            speaks = np.ones(len(self._users), np.bool_)
            speaks[list(silent)] = False
            masks.append(speaks[user])
        if gone:
            masks.append(~np.isin(offset, list(gone)))
        return np.logical_and.reduce(masks) if masks else None


def behind(user: Int32Array, at: Int64Array, new_user: Int32Array, new_at: Int64Array) -> Int64Array:
    """Where in rows by user and time further ones belong, behind those of the same moment: all searched for at once."""
    low = np.searchsorted(user, new_user, "left")
    high = np.searchsorted(user, new_user, "right")
    while len(open := np.flatnonzero(low < high)):
        middle = (low[open] + high[open]) // 2
        before = at[middle] <= new_at[open]
        low[open[before]] = middle[before] + 1
        high[open[~before]] = middle[~before]
    return low
