"""The part of a table that is in memory: what was changed since it was last written, and what was used last."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Cache(Generic[Key, Value]):
    """A `Table` with a store below it. It never writes there itself; only what the store has is forgotten.

    Args:
        find: looks into the store.
        limit: most entries that are kept beside the changed ones.

    Attributes:
        changed: what the store does not have yet.
        hits: look-ups that memory could answer.
        loads: look-ups that the store could answer.
        absent: look-ups that found nothing anywhere.
        evictions: entries that were forgotten.
    """

    def __init__(self, find: Callable[[Key], Value | None], limit: int) -> None:
        self.changed: dict[Key, Value] = {}
        self.hits = self.loads = self.absent = self.evictions = 0
        self._kept: OrderedDict[Key, Value] = OrderedDict()
        self._find = find
        self._limit = limit

    def __len__(self) -> int:
        return len(self._kept) + sum(key not in self._kept for key in self.changed)

    def get(self, key: Key) -> Value | None:
        """What was put there last; None when nothing was."""
        value = self.changed.get(key)
        if value is None and (value := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
        if value is not None:
            self.hits += 1
            return value
        return self._load(key)

    def __setitem__(self, key: Key, value: Value) -> None:
        self.changed[key] = value

    def update(self, values: Mapping[Key, Value]) -> None:
        """Put many things there."""
        self.changed.update(values)

    def lookups(self) -> dict[str, int]:
        """How many ended how, since this was asked before."""
        counted = {"hit": self.hits, "loaded": self.loads, "absent": self.absent}
        self.hits = self.loads = self.absent = 0
        return counted

    def written(self) -> None:
        """The store has all that was changed."""
        for key in self.changed:
            self._kept.pop(key, None)
        self._kept.update(self.changed)
        self.changed = {}
        self._shrink()

    def _load(self, key: Key) -> Value | None:
        value = self._find(key)
        if value is None:
            self.absent += 1
            return None
        self.loads += 1
        self._kept[key] = value
        self._shrink()
        return value

    def _shrink(self) -> None:
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)
            self.evictions += 1
