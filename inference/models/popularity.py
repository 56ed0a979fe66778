"""What everybody likes: the baseline, and the last resort of every fallback."""

from dataclasses import dataclass

import numpy as np
from onnx import helper

from inference.graph import Scoring
from inference.interactions import Float32Array, Interactions
from inference.model import Model
from schemas.errors import Invalid

DAY_US = 86_400_000_000


@dataclass(frozen=True)
class PopularityParams:
    """How popularity is counted.

    Args:
        half_life_days: an interaction counts half when it is this much older than the newest in the dataset;
            0 counts all alike.
    """

    half_life_days: float = 30.0

    def __post_init__(self) -> None:
        if self.half_life_days < 0:
            raise Invalid("half_life_days must be 0 or more", code="model_params")


def fit(dataset: Interactions, params: PopularityParams) -> Float32Array:
    """Summed weight of each item, shape (items,)."""
    weight = dataset.weight.astype(np.float64)
    if params.half_life_days:
        age_us = dataset.occurred_at.max() - dataset.occurred_at
        weight *= np.exp2(-age_us / (params.half_life_days * DAY_US))
    return np.bincount(dataset.item, weight, minlength=len(dataset.items)).astype(np.float32)


def scoring(weights: Float32Array) -> Scoring:
    """The same scores for every history; what was seen is masked by the shared part of the graph."""
    table = np.append(weights, np.float32(0))[np.newaxis]
    return Scoring([helper.make_node("Add", ["blank", "popularity"], ["raw"])], {"popularity": table})


MODEL = Model("popularity", 1, PopularityParams(), fit, scoring)
