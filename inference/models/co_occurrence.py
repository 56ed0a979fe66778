"""Co-occurrence: what is met soon after what, counted in whole numbers.

The same counts are kept live by the role `counter` (`inference.counting`); fitted here from a dataset they are the same
counts, and score the same.
Source: sequential rules, Kamehkhosh, Jannach and Ludewig 2017 (A comparison of frequent pattern techniques and a deep
learning method for session-based recommendation).
"""

from dataclasses import dataclass

from inference.counting.pairs import KEPT
from inference.counting.rules import followers
from inference.graph import Scoring
from inference.interactions import Interactions
from inference.model import Model
from inference.neighbours import Neighbours, added_up, tables
from schemas.errors import Invalid


@dataclass(frozen=True)
class CoOccurrenceParams:
    """How many items are kept that follow an item, and how a history is weighed.

    Args:
        neighbours: kept per item; equal counts by the item's id.
        decay: weight of an interaction relative to the one after it, at serving; in (0, 1].
    """

    neighbours: int = KEPT
    decay: float = 0.8

    def __post_init__(self) -> None:
        if self.neighbours < 1 or not 0 < self.decay <= 1:
            raise Invalid("neighbours must be 1 or more, decay in (0, 1]", code="model_params")


def fit(dataset: Interactions, params: CoOccurrenceParams) -> Neighbours:
    """The share of each item in what follows an item."""
    return followers(dataset, params.neighbours)


def scoring(weights: Neighbours) -> Scoring:
    """Add up what follows everything in the history, each times its place's strength, oldest first."""
    return Scoring(added_up("raw"), tables(weights))


MODEL = Model("co-occurrence", 1, CoOccurrenceParams(), fit, scoring, decay=lambda params: params.decay)
