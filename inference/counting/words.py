"""What the users of one partition of `profiles` said of being counted, ready to be heard up to any offset."""

from collections.abc import Sequence
from threading import Lock

import numpy as np

from inference.counting.gist import ERASED, WITHDRAWN, Gist
from inference.counting.histories import numbered
from inference.counting.names import Names


class Words:
    """The words of one partition; all of a user's are in the same.

    Args:
        users: numbers of their names; may be shared.

    Attributes:
        end: first offset that is not in it.
    """

    def __init__(self, users: Names) -> None:
        self.end = 0
        self._users = users
        self._said = (np.zeros(0, np.int32), np.zeros(0, np.int8), np.zeros(0, np.int64))
        self._adding = Lock()

    def add(self, gists: Sequence[Gist], end: int) -> None:
        """Take what comes next, up to `end`; what is there already is passed over."""
        with self._adding:
            new = [
                (numbered(gist, "user", self._users), gist.numbers("word"), gist.numbers("offset")) for gist in gists
            ]
            fresh = [tuple(column[offset >= self.end] for column in (user, word, offset)) for user, word, offset in new]
            user, word, offset = (np.concatenate(column) for column in zip(self._said, *fresh, strict=True))
            self._said = (user, word, offset)
            self.end = max(self.end, end)

    def withdrawn(self, end: int) -> set[int]:
        """Who does not consent to training, by the last word before `end`."""
        user, word, offset = self._said
        before = np.flatnonzero((offset < end) & (word != ERASED))[::-1]
        users, places = np.unique(user[before], return_index=True)
        return set(users[word[before][places] == WITHDRAWN].tolist())

    def erased(self, end: int) -> set[int]:
        """Who is gone for good before `end`."""
        user, word, offset = self._said
        return set(user[(offset < end) & (word == ERASED)].tolist())
