"""What everybody likes: the baseline, and the last resort of every fallback."""

from dataclasses import dataclass

import numpy as np
from onnx import helper

from inference.counting.fading import NOTHING_MET, faded, folded
from inference.graph import Scoring
from inference.interactions import Float32Array, Interactions
from inference.model import Model
from schemas.errors import Invalid


@dataclass(frozen=True)
class PopularityParams:
    """How popularity is counted.

    Args:
        half_life_days: an interaction counts half when it is this much older than the newest in the dataset, by hours;
            0 counts all alike.
    """

    half_life_days: float = 30.0

    def __post_init__(self) -> None:
        if self.half_life_days < 0:
            raise Invalid("half_life_days must be 0 or more", code="model_params")


def fit(dataset: Interactions, params: PopularityParams) -> Float32Array:
    """Summed weight of each item, shape (items,), by hours: the same whatever the order of the interactions."""
    sums = folded(NOTHING_MET, dataset.item, dataset.occurred_at, dataset.weight)
    return faded(sums, len(dataset.items), params.half_life_days).astype(np.float32)


def scoring(weights: Float32Array) -> Scoring:
    """The same scores for every history; what was seen is masked by the shared part of the graph."""
    table = np.append(weights, np.float32(0))[np.newaxis]
    return Scoring([helper.make_node("Add", ["blank", "popularity"], ["raw"])], {"popularity": table})


MODEL = Model("popularity", 2, PopularityParams(), fit, scoring)
