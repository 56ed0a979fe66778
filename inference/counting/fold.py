"""The live fold: pairs of items counted as interactions come, the same whatever the batches and their interleaving.

Who does not consent to training, or is erased, counts nothing; their history is kept so that their pairs can be taken
out, and brought back with their consent. Like the datasets, histories stand in the order in which things happened.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.counting.gist import Gist
from inference.counting.histories import meetings
from inference.counting.names import Names
from inference.counting.near import Row, top_row
from inference.counting.pairs import NOTHING, SHIFT, SPAN, Counts, counted, summed
from inference.counting.seen import Seen, hash_of
from inference.inputs import SILENT_KINDS
from inference.interactions import Int32Array, Int64Array
from schemas.identity import CLIENT_CHOSEN, VERSION_AT

SMALLEST, RATIO = 1 << 12, 16
"""Pairs that the first level of counts may hold, and how much more each further one: a small batch copies few."""

NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class Met:
    """An interaction.

    Attributes:
        id: its `ce_id`; one chosen by a client counts once for each user, where it came first.
        at_us: when it happened, microseconds since the epoch.
    """

    id: str
    user: str
    item: str
    kind: str
    at_us: int


class Columns:
    """All interactions, in the order in which they came."""

    def __init__(self) -> None:
        self._size = 0
        self._user, self._item = np.zeros(1024, np.int32), np.zeros(1024, np.int32)
        self._at = np.zeros(1024, np.int64)

    def add(self, user: Int32Array, item: Int32Array, at: Int64Array) -> None:
        """One batch more."""
        end = self._size + len(user)
        if end > len(self._user):
            room = 2 * end
            self._user, self._item = np.resize(self._user, room), np.resize(self._item, room)
            self._at = np.resize(self._at, room)
        self._user[self._size : end], self._item[self._size : end], self._at[self._size : end] = user, item, at
        self._size = end

    def of(self, users: Iterable[int]) -> tuple[Int32Array, Int32Array, Int64Array]:
        """The histories of these users, one after another, each oldest first."""
        rows = np.flatnonzero(np.isin(self._user[: self._size], list(users)))
        rows = rows[np.lexsort((self._at[rows], self._user[rows]))]
        return self._user[rows], self._item[rows], self._at[rows]


class CoOccurrence:
    """Counts of pairs, kept up to date.

    Every batch is taken whole. What it holds depends on the interactions of each user in their order and on who
    consents at the end, and on nothing else.
    """

    def __init__(self) -> None:
        self._users, self._items = Names(), Names()
        self._columns = Columns()
        self._seen = Seen()
        self._silent: set[int] = set()
        self._erased: set[int] = set()
        self._tails = np.full((1024, SPAN), -1, np.int32)
        self._last = np.full(1024, NEVER, np.int64)
        self._levels: list[Counts] = [NOTHING]
        self._changed: set[int] = set()

    def __len__(self) -> int:
        """Pairs; one that stands on several levels is counted on each."""
        return sum(map(len, self._levels))

    @property
    def counts(self) -> Counts:
        """All pairs, by the numbers of their items; see `name`."""
        return reduce(Counts.plus, self._levels)

    def name(self, item: int) -> str:
        """Of an item's number."""
        return self._items.names[item]

    def changed(self) -> list[str]:
        """The items whose rows have changed since this was last asked."""
        found = [self._items.names[item] for item in sorted(self._changed)]
        self._changed.clear()
        return found

    def row(self, item: str) -> dict[str, int]:
        """What followed an item, and how often."""
        others, times = self._row(item)
        return {self._items.names[other]: n for other, n in zip(others.tolist(), times.tolist(), strict=True)}

    def kept(self, item: str) -> Row:
        """What followed an item most, as it is kept."""
        return top_row(*self._row(item), self.name)

    def _row(self, item: str) -> tuple[Int64Array, Int64Array]:
        number = self._items.known(item)
        if number is None:
            return NOTHING.keys, NOTHING.counts
        parts = [level.row(number) for level in self._levels]
        found = summed(np.concatenate([others for others, _ in parts]), np.concatenate([times for _, times in parts]))
        return found.keys, found.counts

    def meet(self, batch: Iterable[Met]) -> None:
        """The next interactions, those of each user in the order of the log."""
        rows = [one for one in batch if self._is_first(one) and one.kind not in SILENT_KINDS]
        user = np.array([self._users.number(one.user) for one in rows], np.int32)
        item = np.array([self._items.number(one.item) for one in rows], np.int32)
        self._meet(user, item, np.array([one.at_us for one in rows], np.int64))

    def meet_all(self, gists: Sequence[Gist]) -> None:
        """The same for what has been boiled down: the next interactions of one partition."""
        user, item, at, _ = meetings(gists, self._users, self._items, self._seen)
        self._meet(user, item, at)

    def _meet(self, user: Int32Array, item: Int32Array, at: Int64Array) -> None:
        if not len(user):
            return
        self._make_room()
        late = self._late(user, at)
        before = self._columns.of(late) if late else None
        self._columns.add(user, item, at)
        if before is not None:
            self._add(self._speaking(before), -1)
            self._replace(late)
        on_time = ~np.isin(user, list(late)) if late else np.ones(len(user), bool)
        self._append(user[on_time], item[on_time], at[on_time])

    def consent(self, user: str, *, training: bool) -> None:
        """Whether a user's interactions may be counted from now on; until told otherwise they may."""
        number = self._users.number(user)
        self._make_room()
        if number in self._erased or training == (number not in self._silent):
            return
        history = self._columns.of([number])
        if training:
            self._silent.discard(number)
            self._add(self._speaking(history))
        else:
            self._add(self._speaking(history), -1)
            self._silent.add(number)

    def erase(self, user: str) -> None:
        """Count nothing of a user any more, whatever is said later."""
        self.consent(user, training=False)
        self._erased.add(self._users.number(user))

    def _is_first(self, one: Met) -> bool:
        """Whether an id comes for the first time from its user; ids of our own making (UUIDv7) cannot come again."""
        if one.id[VERSION_AT] != str(CLIENT_CHOSEN):
            return True
        return self._seen.add(hash_of(one.id, one.user))

    def _late(self, user: Int32Array, at: Int64Array) -> set[int]:
        """Users of whom something came that happened before what is known."""
        return set(user[at < self._last[user]].tolist())

    def _append(self, user: Int32Array, item: Int32Array, at: Int64Array) -> None:
        """Count what follows the ends of known histories."""
        order = np.lexsort((at, user))
        user, item, at = user[order], item[order], at[order]
        people, starts, sizes = np.unique(user, return_index=True, return_counts=True)
        ends = np.cumsum(sizes + SPAN)
        fresh = np.ones(len(user) + SPAN * len(people), bool)
        tails = ((ends - sizes)[:, np.newaxis] - np.arange(SPAN, 0, -1)).ravel()
        fresh[tails] = False
        line, whose = np.empty(len(fresh), np.int32), np.repeat(people, sizes + SPAN)
        line[tails], line[fresh] = self._tails[people].ravel(), item
        self._add(self._speaking((whose, line, None), fresh))
        self._tails[people] = line[ends[:, np.newaxis] - np.arange(SPAN, 0, -1)]
        self._last[people] = at[starts + sizes - 1]

    def _replace(self, users: set[int]) -> None:
        """Count whole histories again, and note their ends."""
        user, item, at = self._columns.of(users)
        self._add(self._speaking((user, item, at)))
        for one in users:
            own = user == one
            newest = item[own][-SPAN:]
            self._tails[one] = -1
            self._tails[one, SPAN - len(newest) :] = newest
            self._last[one] = at[own][-1]

    def _speaking(self, rows: Sequence[Any], fresh: NDArray[np.bool_] | None = None) -> Counts:
        """The pairs of those rows whose users may be counted."""
        user, item = rows[0], rows[1]
        if self._silent:
            may = ~np.isin(user, list(self._silent))
            user, item, fresh = user[may], item[may], None if fresh is None else fresh[may]
        return counted(user, item, fresh)

    def _add(self, counts: Counts, times: int = 1) -> None:
        self._changed.update(np.unique(counts.keys >> SHIFT).tolist())
        added = counts if times == 1 else NOTHING.plus(counts, times)
        for level in count():
            added = self._levels[level].plus(added)
            if len(added) <= SMALLEST * RATIO**level:
                self._levels[level] = added
                return
            self._levels[level] = NOTHING
            if level + 1 == len(self._levels):
                self._levels.append(NOTHING)

    def _make_room(self) -> None:
        """Places for the users that have come."""
        if len(self._users) > len(self._last):
            more = 2 * len(self._users) - len(self._last)
            self._tails = np.pad(self._tails, ((0, more), (0, 0)), constant_values=-1)
            self._last = np.pad(self._last, (0, more), constant_values=NEVER)
