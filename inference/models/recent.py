"""Recent: what follows the items of a history, mixed with what everybody meets lately.

Whoever returns after months is answered with what has come out meanwhile, whoever is new with what is met by all, and
both the more by their own history the more they tell.
Sources: sequential rules as in `co_occurrence`; recency of popularity, Ji et al. 2020 (A re-visit of the popularity
baseline in recommender systems).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from inference.counting.fading import NOTHING_MET, faded, folded
from inference.counting.rules import followers
from inference.graph import Scoring
from inference.interactions import Float32Array, Interactions
from inference.model import Model
from inference.neighbours import Neighbours, added_up, tables
from schemas.errors import Invalid


@dataclass(frozen=True)
class RecentParams:
    """What counts as recent, and how much.

    Args:
        neighbours: items kept that follow an item.
        decay: weight of an interaction relative to the one after it, at serving; in (0, 1].
        half_life_days: an interaction counts half for popularity when it is this much older than the newest.
        popular_weight: of an item's share in what is met lately, where its share in what follows weighs 1.
    """

    neighbours: int = 400
    decay: float = 0.8
    half_life_days: float = 3.0
    popular_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.neighbours < 1 or not 0 < self.decay <= 1:
            raise Invalid("neighbours must be 1 or more, decay in (0, 1]", code="model_params")
        if self.half_life_days <= 0 or self.popular_weight < 0:
            raise Invalid("half_life_days must be above 0, popular_weight 0 or more", code="model_params")


@dataclass(frozen=True, eq=False)
class Recent:
    """What follows each item, and what every item of a history adds to each item; the last item is none."""

    near: Neighbours
    popular: Float32Array


def fit(dataset: Interactions, params: RecentParams) -> Recent:
    """Count what follows what, and what is met lately."""
    alike = np.ones(len(dataset))
    sums = folded(NOTHING_MET, dataset.item, dataset.occurred_at, alike)
    met = faded(sums, len(dataset.items), params.half_life_days)
    shares = (params.popular_weight * met / met.sum()).astype(np.float32)
    return Recent(followers(dataset, params.neighbours), np.append(shares, np.float32(0)))


def scoring(weights: Recent) -> Scoring:
    """Add up what follows everything in the history, and popularity as often as all of it together weighs.

    The weights are summed over the first axis and twice beside each other: onnxruntime then adds one after another,
    whatever the batch and the padding.
    """
    node = helper.make_node
    nodes = [
        *added_up("following"),
        node("Transpose", ["strengths"], ["by_time"], perm=[1, 0]),
        node("Unsqueeze", ["by_time", "last_axis"], ["by_time_column"]),
        node("Mul", ["by_time_column", "twice"], ["by_time_pair"]),
        node("ReduceSum", ["by_time_pair", "time_axis"], ["totals"], keepdims=0),
        node("Gather", ["totals", "first_place"], ["total"], axis=1),
        node("Mul", ["total", "popular"], ["lately"]),
        node("Add", ["following", "lately"], ["raw"]),
    ]
    own: dict[str, NDArray[Any]] = {
        "popular": weights.popular[np.newaxis],
        "twice": np.ones((1, 1, 2), np.float32),
        "time_axis": np.array([0], np.int64),
        "first_place": np.array([0], np.int64),
    }
    return Scoring(nodes, {**tables(weights.near), **own})


MODEL = Model("recent", 1, RecentParams(), fit, scoring, decay=lambda params: params.decay)
