"""Plain numpy versions of what the graphs compute, written apart from them, and small data sets."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from inference.interactions import Interactions
from inference.model import Model
from inference.models import co_occurrence, ease, ials, item_to_item, popularity, recent, sasrec
from inference.models.ials import Factors, IalsParams
from inference.models.recent import Recent
from inference.models.sasrec import EPSILON, FAR, Network, SasrecParams
from inference.neighbours import Neighbours

SMALL_IALS = replace(ials.MODEL, params=IalsParams(factors=6, iterations=2, steps=3))
"""So that an example takes no longer than those of the others."""

UNTRAINED = replace(
    sasrec.MODEL,
    params=SasrecParams(window=6, width=8),
    fit=lambda data, params: sasrec.initial(len(data.items), params),
)
"""The graph of SASRec with weights that have learnt nothing, which takes no PyTorch."""

TOLERANCE = {"sasrec": 1e-4}
"""By how much a score may differ from its definition; others have to agree to the last bit."""

MODELS: list[Model[Any, Any]] = [
    ease.MODEL,
    item_to_item.MODEL,
    popularity.MODEL,
    SMALL_IALS,
    recent.MODEL,
    co_occurrence.MODEL,
    UNTRAINED,
]
DAY_US = 86_400_000_000


def toy(users: int = 40, items: int = 25, rows: int = 600, seed: int = 3) -> Interactions:
    """A repeatable random data set."""
    random = np.random.default_rng(seed)
    return Interactions.of(
        [f"u{i}" for i in random.integers(0, users, rows)],
        [f"i{i}" for i in random.integers(0, items, rows)],
        np.ones(rows),
        random.integers(0, 100 * DAY_US, rows),
    )


@st.composite
def interactions(draw: st.DrawFn) -> Interactions:
    """Any small log of interactions: repeats, ties in time and single users included."""
    row = st.tuples(st.integers(0, 5), st.integers(0, 8), st.sampled_from([0.5, 1.0, 2.0]), st.integers(0, 50))
    rows = draw(st.lists(row, min_size=1, max_size=60))
    return Interactions.of(
        [f"u{r[0]}" for r in rows], [f"i{r[1]}" for r in rows], [r[2] for r in rows], [r[3] * DAY_US for r in rows]
    )


histories = st.lists(st.integers(0, 11).map(lambda i: f"i{i}"), max_size=14)
"""Histories over a vocabulary a little larger than the data's: empty, repeated, unknown and complete ones."""


def raw_scores(
    weights: Any, ids: Sequence[int], strengths: Sequence[float] | NDArray[np.float32], n_items: int
) -> NDArray[np.float32]:
    """Scores before masking, added one by one in float32 in the order of the history."""
    raw = np.zeros(n_items + 1, np.float32)
    if isinstance(weights, Recent):
        near = raw_scores(weights.near, ids, strengths, n_items)
        return near + weights.popular[:-1] * np.float32(added(np.asarray(strengths, np.float32)))
    if isinstance(weights, Neighbours):
        for i, strength in zip(ids, strengths, strict=True):
            np.add.at(raw, weights.items[i], weights.scores[i] * np.float32(strength))
        return raw[:-1]
    if isinstance(weights, Network):
        return attended(weights, ids, n_items)
    if isinstance(weights, Factors):
        return folded_in(weights, ids, strengths)
    if weights.ndim == 1:
        return np.asarray(weights)
    for i, strength in zip(ids, strengths, strict=True):
        raw[:-1] += weights[i] * np.float32(strength)
    return raw[:-1]


def folded_in(
    weights: Factors, ids: Sequence[int], strengths: Sequence[float] | NDArray[np.float32]
) -> NDArray[np.float32]:
    """The user's least-squares problem by conjugate gradients, then products; in float32, sums one by one."""
    met, strength = weights.items[list(ids)], np.asarray(strengths, np.float32)
    penalty = added(strength) * weights.l2 + weights.ridge

    def applied(vector: NDArray[np.float32]) -> NDArray[np.float32]:
        unobserved = added(weights.gram * vector[:, np.newaxis])
        seen = added(met.T * vector[:, np.newaxis]) * strength
        product: NDArray[np.float32] = unobserved + added(met * seen[:, np.newaxis]) + vector * penalty
        return product

    wanted = added(met * strength[:, np.newaxis])
    x, r, p = np.zeros_like(wanted), wanted, wanted
    rr = added(r * r)
    for _ in range(weights.steps):
        ap = applied(p)
        pap = added(p * ap)
        alpha = rr / pap if pap > 0 else np.float32(0)
        x, r = x + p * alpha, r - ap * alpha
        before, rr = rr, added(r * r)
        p = r + p * (rr / before if before > 0 else np.float32(0))
    return np.asarray(added(weights.items.T * x[:, np.newaxis]))


def attended(weights: Network, ids: Sequence[int], n_items: int) -> NDArray[np.float32]:
    """The transformer in float64, over the items that there are and no others."""
    table = {name: one.astype(np.float64) for name, one in weights.tables.items()}
    newest = list(ids)[::-1][: weights.window]
    if not newest:
        return np.zeros(n_items, np.float32)
    size, width = len(newest), table["items"].shape[1]
    x = table["items"][newest] * np.sqrt(width) + table["positions"][:size]
    bias = np.where(np.arange(size) >= np.arange(size)[:, np.newaxis], 0.0, FAR)

    def normed(rows: NDArray[np.float64], norm: str) -> NDArray[np.float64]:
        spread = np.sqrt(rows.var(axis=1, keepdims=True) + EPSILON)
        centred: NDArray[np.float64] = (rows - rows.mean(axis=1, keepdims=True)) / spread
        return centred * table[f"{norm}_scale"] + table[f"{norm}_shift"]

    for b in range(weights.blocks):
        h = normed(x, f"before_attention_{b}")
        likeness = h @ table[f"query_{b}"] @ (h @ table[f"key_{b}"]).T / np.sqrt(width) + bias
        attention = np.exp(likeness - likeness.max(axis=1, keepdims=True))
        attention /= attention.sum(axis=1, keepdims=True)
        x = x + attention @ (h @ table[f"value_{b}"]) @ table[f"output_{b}"]
        f = normed(x, f"before_inner_{b}")
        fired = np.maximum(f @ table[f"inner_{b}"] + table[f"inner_bias_{b}"], 0)
        x = x + fired @ table[f"outer_{b}"] + table[f"outer_bias_{b}"]
    return np.asarray(normed(x, "at_end")[0] @ table["items"].T, np.float32)


def added(rows: NDArray[np.float32]) -> Any:
    """The sum of rows, one after another; numpy's own sum takes another order."""
    total = np.zeros(rows.shape[1:], np.float32)
    for row in rows:
        total = total + row
    return total


def agrees(model: Model[Any, Any], found: Sequence[tuple[int, float]], wanted: Sequence[tuple[int, float]]) -> bool:
    """Whether an answer is what it has to be; within a tolerance, items of like score may stand the other way round."""
    tolerance = TOLERANCE.get(model.name, 0.0)
    if not tolerance:
        return list(found) == list(wanted)
    of = dict(wanted)
    return len(found) == len(wanted) and all(
        abs(score - other) <= tolerance and abs(score - of.get(item, other)) <= tolerance
        for (item, score), (_, other) in zip(found, wanted, strict=True)
    )


def expected(
    weights: Any, ids: Sequence[int], strengths: Sequence[float] | NDArray[np.float32], n_items: int, k: int
) -> list[tuple[int, float]]:
    """The answer by its definition: unseen items with a score, best first, equal ones by index."""
    raw = raw_scores(weights, ids, strengths, n_items)
    ranked = sorted((i for i in range(n_items) if i not in set(ids) and raw[i] != 0), key=lambda i: (-raw[i], i))
    return [(i, float(raw[i])) for i in ranked[:k]]
