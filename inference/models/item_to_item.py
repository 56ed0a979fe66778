"""Item to item: what is met by the same people, and what is met next.

Both are counts over pairs, so they can also be folded from the log event by event.
Sources: cosine of item vectors, Sarwar et al. 2001 (Item-based collaborative filtering); first-order transitions with
recency, Ludewig and Jannach 2018 (Evaluation of session-based recommendation algorithms).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from inference.graph import Scoring
from inference.interactions import Interactions
from inference.model import Model
from inference.neighbours import Neighbours, added_up, strongest, tables, without_diagonal
from schemas.errors import Invalid


@dataclass(frozen=True)
class ItemToItemParams:
    """How neighbours are chosen and weighed.

    Args:
        neighbours: kept per item; more costs memory and time, and rarely helps beyond 100.
        decay: weight of an interaction relative to the one after it, at serving; in (0, 1].
        transition_weight: weight of P(j is next after i) beside the cosine of i and j; 0 ignores the order.
    """

    neighbours: int = 100
    decay: float = 0.6
    transition_weight: float = 4.0

    def __post_init__(self) -> None:
        if self.neighbours < 1 or not 0 < self.decay <= 1 or self.transition_weight < 0:
            raise Invalid(
                "neighbours must be 1 or more, decay in (0, 1], transition_weight 0 or more", code="model_params"
            )


def fit(dataset: Interactions, params: ItemToItemParams) -> Neighbours:
    """Cosine plus transition probability of every pair that occurs; the strongest per item are kept."""
    strength = cosine(dataset) + params.transition_weight * transitions(dataset)
    return strongest(strength.tocoo(), params.neighbours)


def cosine(dataset: Interactions) -> "sp.csr_array[Any, Any]":
    """Cosine of the items' columns of the user-item matrix, without the diagonal."""
    matrix = dataset.matrix()
    norm = np.sqrt(matrix.power(2).sum(axis=0))
    scale = np.divide(1.0, norm, out=np.zeros_like(norm), where=norm > 0)
    unit = matrix.multiply(scale).tocsr()
    return without_diagonal(unit.T @ unit)


def transitions(dataset: Interactions) -> "sp.csr_array[Any, Any]":
    """Row i, column j: how often j came right after i in a user's history, per user who met i."""
    rows = dataset.chronological()
    user, item = dataset.user[rows], dataset.item[rows]
    follows = user[1:] == user[:-1]
    pairs = (item[:-1][follows], item[1:][follows])
    n = len(dataset.items)
    counts = sp.csr_array((np.ones(len(pairs[0])), pairs), shape=(n, n))
    met_by = np.bincount(dataset.matrix().indices, minlength=n)
    return without_diagonal(counts.multiply(1.0 / met_by[:, np.newaxis]).tocsr())


def scoring(weights: Neighbours) -> Scoring:
    """Add up the neighbours of everything in the history, each times its place's strength, oldest first."""
    return Scoring(added_up("raw"), tables(weights))


MODEL = Model("item-to-item", 1, ItemToItemParams(), fit, scoring, decay=lambda params: params.decay)
