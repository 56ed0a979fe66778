"""A user's history as a model reads it: one pure way, shared by serving, explanation and evaluation.

All three must build the very same tensors, or an explanation could differ from what was served.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from inference.interactions import Float32Array, Int32Array

BUCKETS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048)
"""Lengths that histories are padded to: few shapes keep a server's memory and kernels warm."""


def history_weights(n: int, decay: float) -> Float32Array:
    """Recency by order: the newest of `n` interactions weighs 1, each older one `decay` times the next.

    Products one after another, because a power function may differ in its last bit between machines.
    """
    factors = np.full(n, decay)
    factors[:1] = 1.0
    return np.multiply.accumulate(factors)[::-1].astype(np.float32)


def bucket(n: int) -> int:
    """The padded length for `n` items; the largest bucket when there are more."""
    return next((size for size in BUCKETS if n <= size), BUCKETS[-1])


def known(history: Sequence[str], index: Mapping[str, int]) -> list[int]:
    """Item indices of a history, in its order: unknown items left out, a repeated item where it was last.

    More than the largest bucket cannot be read at once: the newest are kept, and older items may then be
    recommended again.
    """
    newest_first = dict.fromkeys(index[item] for item in reversed(history) if item in index)
    return list(newest_first)[: BUCKETS[-1]][::-1]


def encode(history: Sequence[str], index: Mapping[str, int], decay: float) -> tuple[Int32Array, Float32Array]:
    """The two input tensors of the signature for one user, each of shape (1, L).

    Args:
        history: item ids, oldest first.
        index: item id to index, of the model that will score.
        decay: see `history_weights`; from the model's metadata.
    """
    items = known(history, index)
    return pad([items], bucket(len(items)), decay)


def pad(histories: Sequence[Sequence[int]], size: int, decay: float) -> tuple[Int32Array, Float32Array]:
    """The input tensors of several users, each of shape (users, `size`); the places left over are -1 with weight 0.

    Args:
        histories: item indices, oldest first, at most `size` each.
        size: a bucket.
        decay: see `history_weights`.
    """
    ids = np.full((len(histories), size), -1, np.int32)
    weights = np.zeros(ids.shape, np.float32)
    for row, items in enumerate(histories):
        ids[row, : len(items)] = items
        weights[row, : len(items)] = history_weights(len(items), decay)
    return ids, weights
