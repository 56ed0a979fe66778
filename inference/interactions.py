"""Who met what, and when: the columns that every model is fitted on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Int32Array: TypeAlias = NDArray[np.int32]
Int64Array: TypeAlias = NDArray[np.int64]
Float32Array: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Interactions:
    """Interactions as columns of equal length, in log position order.

    Args:
        user: index into `users`.
        item: index into `items`.
        weight: how much the interaction says for the item; 1 for plain implicit feedback.
        occurred_at: when it happened, microseconds since the epoch.
        users: vocabulary, sorted; every user occurs.
        items: vocabulary, sorted; every item occurs. Sorted, so that it does not depend on how partitions interleave.
    """

    user: Int32Array
    item: Int32Array
    weight: Float32Array
    occurred_at: Int64Array
    users: tuple[str, ...]
    items: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.user)

    @classmethod
    def of(
        cls,
        users: Sequence[str],
        items: Sequence[str],
        weights: Sequence[float] | NDArray[Any],
        occurred_at: Sequence[int] | NDArray[Any],
    ) -> "Interactions":
        """From one value per interaction, in log position order."""
        user_names, user = _encode(users)
        item_names, item = _encode(items)
        return cls(
            user=user,
            item=item,
            weight=np.asarray(weights, dtype=np.float32),
            occurred_at=np.asarray(occurred_at, dtype=np.int64),
            users=user_names,
            items=item_names,
        )

    def select(self, rows: NDArray[Any]) -> "Interactions":
        """The rows of a mask or of positions, with vocabularies of what is left."""
        kept_users, user = np.unique(self.user[rows], return_inverse=True)
        kept_items, item = np.unique(self.item[rows], return_inverse=True)
        return Interactions(
            user=user.astype(np.int32),
            item=item.astype(np.int32),
            weight=self.weight[rows],
            occurred_at=self.occurred_at[rows],
            users=tuple(self.users[i] for i in kept_users),
            items=tuple(self.items[i] for i in kept_items),
        )

    def chronological(self) -> Int64Array:
        """Row numbers by user, then by time; what happened at once stays in position order."""
        return np.lexsort((self.occurred_at, self.user)).astype(np.int64)

    def histories(self) -> dict[str, tuple[str, ...]]:
        """Each user's items, oldest first."""
        rows = self.chronological()
        ends = np.cumsum(np.bincount(self.user, minlength=len(self.users)))[:-1]
        names = [self.items[i] for i in self.item[rows]]
        bounds = [0, *ends.tolist(), len(names)] if self.users else [0]
        return {user: tuple(names[start:end]) for user, start, end in zip(self.users, bounds, bounds[1:], strict=False)}

    def matrix(self) -> "sp.csr_array[Any, Any]":
        """Users by items, float64; where a pair occurs more than once, its last interaction in time speaks."""
        rows = self.chronological()
        pair = self.user[rows].astype(np.int64) * len(self.items) + self.item[rows]
        _, last = np.unique(pair[::-1], return_index=True)
        kept = rows[::-1][last]
        shape = (len(self.users), len(self.items))
        values = self.weight[kept].astype(np.float64)
        return sp.csr_array((values, (self.user[kept], self.item[kept])), shape=shape)


def _encode(names: Sequence[str]) -> tuple[tuple[str, ...], Int32Array]:
    vocabulary = tuple(sorted(set(names)))
    index = {name: i for i, name in enumerate(vocabulary)}
    return vocabulary, np.fromiter((index[name] for name in names), dtype=np.int32, count=len(names))
