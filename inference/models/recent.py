"""Recent: what is met lately by people who met the same, mixed with what everybody meets lately.

Counts fade with the age of the interaction that is recommended, so what has just come out is found before it is met by
many, and somebody who returns is not answered with what was liked last year.
Sources: the cosine of item-to-item (Sarwar et al. 2001) with time decay, Ding and Li 2005 (Time weight collaborative
filtering); a share of recent popularity as in Ji et al. 2020 (A re-visit of the popularity baseline in recommender
systems).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from onnx import helper

from inference.graph import Scoring
from inference.interactions import Float32Array, Interactions
from inference.model import Model
from inference.neighbours import Neighbours, added_up, strongest, tables, without_diagonal
from schemas.errors import Invalid

DAY_US = 86_400_000_000


@dataclass(frozen=True)
class RecentParams:
    """What counts as recent, and how much.

    Args:
        neighbours: kept per item.
        decay: weight of an interaction relative to the one after it, at serving; in (0, 1].
        half_life_days: a pair counts half when the interaction with its second item is this much older than the newest
            in the dataset.
        damping: how much less a neighbour counts that is met by many lately: divided by its recent weight to this
            power; 0 not at all, 0.5 as in a cosine.
        popular_half_life_days: the same as `half_life_days` for the popularity that is mixed in.
        popular_weight: what the most popular item gets, where the strongest neighbour gets 1.
    """

    neighbours: int = 400
    decay: float = 0.8
    half_life_days: float = 7.0
    damping: float = 0.25
    popular_half_life_days: float = 3.0
    popular_weight: float = 0.5

    def __post_init__(self) -> None:
        if self.neighbours < 1 or not 0 < self.decay <= 1 or min(self.damping, self.popular_weight) < 0:
            raise Invalid(
                "neighbours must be 1 or more, decay in (0, 1], damping and popular_weight 0 or more",
                code="model_params",
            )
        if min(self.half_life_days, self.popular_half_life_days) <= 0:
            raise Invalid("half_life_days and popular_half_life_days must be above 0", code="model_params")


@dataclass(frozen=True, eq=False)
class Recent:
    """Neighbours, and what every item gets where there is any history; the last item is none."""

    near: Neighbours
    popular: Float32Array


def fit(dataset: Interactions, params: RecentParams) -> Recent:
    """Count pairs and items with the recency of each interaction."""
    seen = dataset.matrix()
    seen.data = np.minimum(seen.data, 1.0)
    fresh = _faded(dataset, params.half_life_days)
    first, second = _power(seen.sum(axis=0), -0.5), _power(fresh.sum(axis=0), -params.damping)
    pairs = without_diagonal(seen.T @ fresh).multiply(first[:, np.newaxis]).multiply(second)
    popular = _faded(dataset, params.popular_half_life_days).sum(axis=0)
    most = max(float(popular.max(initial=0.0)), np.finfo(np.float64).tiny)
    shares = (params.popular_weight * popular / most).astype(np.float32)
    return Recent(strongest(pairs.tocoo(), params.neighbours), np.append(shares, np.float32(0)))


def _faded(dataset: Interactions, half_life_days: float) -> "sp.csr_array[Any, Any]":
    """Users by items, each pair with the recency of its last interaction."""
    age_us = dataset.occurred_at.max() - dataset.occurred_at
    recency = np.exp2(-age_us / (half_life_days * DAY_US)).astype(np.float32)
    faded = Interactions(
        dataset.user, dataset.item, recency, dataset.occurred_at, users=dataset.users, items=dataset.items
    )
    return faded.matrix()


def _power(values: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    return np.power(values, exponent, out=np.zeros_like(values), where=values > 0)


def scoring(weights: Recent) -> Scoring:
    """The neighbours added up, measured by the strongest, plus popularity; nothing where no neighbour speaks."""
    node = helper.make_node
    nodes = [
        *added_up("together"),
        node("ReduceMax", ["together", "item_axis"], ["strongest"], keepdims=1),
        node("Greater", ["strongest", "nothing"], ["speaks"]),
        node("Where", ["speaks", "strongest", "unit"], ["measure"]),
        node("Div", ["together", "measure"], ["shares"]),
        node("Where", ["speaks", "popular", "nothing"], ["popular_shares"]),
        node("Add", ["shares", "popular_shares"], ["raw"]),
    ]
    own: dict[str, NDArray[Any]] = {
        "popular": weights.popular[np.newaxis],
        "item_axis": np.array([1], np.int64),
        "unit": np.array([1], np.float32),
    }
    return Scoring(nodes, {**tables(weights.near), **own})


MODEL = Model("recent", 1, RecentParams(), fit, scoring, decay=lambda params: params.decay)
