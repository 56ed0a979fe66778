"""The part of a table that is in memory: what the store below does not have yet, and what was used last."""

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Cache(Generic[Key, Value]):
    """A `Table` with a store below it. It never writes there itself; only what the store has is forgotten.

    Args:
        find: looks into the store for many keys at once; what is not there is left out.
        limit: most entries that are kept beside those that the store does not have.

    Attributes:
        changed: what nobody has begun to write.
        leaving: what is being written.
        hits: look-ups that memory could answer.
        loads: look-ups that the store could answer.
        absent: look-ups that found nothing anywhere.
        evictions: entries that were forgotten.
    """

    def __init__(self, find: Callable[[Collection[Key]], Mapping[Key, Value]], limit: int) -> None:
        self.changed: dict[Key, Value] = {}
        self.leaving: dict[Key, Value] = {}
        self.hits = self.loads = self.absent = self.evictions = 0
        self._kept: OrderedDict[Key, Value] = OrderedDict()
        self._missing: set[Key] = set()
        self._find = find
        self._limit = limit

    def __len__(self) -> int:
        return len(self._kept.keys() | self.leaving.keys() | self.changed.keys())

    def get(self, key: Key) -> Value | None:
        """What was put there last; None when nothing was."""
        value = self._held(key)
        if value is not None:
            self.hits += 1
            return value
        if key in self._missing:
            return None
        return self._load([key]).get(key)

    def __setitem__(self, key: Key, value: Value) -> None:
        self.changed[key] = value

    def update(self, values: Mapping[Key, Value]) -> None:
        """Put many things there."""
        self.changed.update(values)

    def expect(self, keys: Collection[Key]) -> None:
        """Look for all of these now, so that each `get` finds them in memory or knows that they are nowhere."""
        self._missing = set()
        if unknown := {key for key in keys if self._held(key) is None}:
            self._missing = unknown - self._load(unknown).keys()

    def lookups(self) -> dict[str, int]:
        """How many ended how, since this was asked before."""
        counted = {"hit": self.hits, "loaded": self.loads, "absent": self.absent}
        self.hits = self.loads = self.absent = 0
        return counted

    def leave(self) -> Mapping[Key, Value]:
        """What has to be written; `written` or `returned` is to follow, and not before it another `leave`."""
        self.leaving, self.changed = self.changed, {}
        return self.leaving

    def written(self) -> None:
        """The store has what was leaving."""
        for key in self.leaving:
            self._kept.pop(key, None)
        self._kept.update(self.leaving)
        self.leaving, self._missing = {}, set()
        self._shrink()

    def returned(self) -> None:
        """The store does not have what was leaving."""
        self.changed = self.leaving | self.changed
        self.leaving = {}

    def _held(self, key: Key) -> Value | None:
        value = self.changed.get(key) or self.leaving.get(key)
        if value is None and (value := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
        return value

    def _load(self, keys: Collection[Key]) -> Mapping[Key, Value]:
        found = self._find(keys)
        self._kept.update(found)
        self.loads += len(found)
        self.absent += len(keys) - len(found)
        self._shrink()
        return found

    def _shrink(self) -> None:
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)
            self.evictions += 1
