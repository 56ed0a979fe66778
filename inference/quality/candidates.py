"""Hyper-parameters that are tried, for each kind of model."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from inference.interactions import Interactions
from inference.model import Model
from inference.models import ease, item_to_item, popularity
from inference.quality.protocols import Protocol

LARGEST_EASE = 6_000
"""Items up to which the dense matrix of EASE is inverted here: the time grows with their third power."""

Grid = Sequence[Mapping[str, Any]]


def grids(protocol: Protocol) -> list[tuple[Model[Any, Any], Grid]]:
    """The models that suit a protocol, each with the hyper-parameters to choose from."""
    found: list[tuple[Model[Any, Any], Grid]] = [(popularity.MODEL, _popularity(protocol))]
    found.append((item_to_item.MODEL, _item_to_item(protocol)))
    if len(protocol.report.train.items) <= LARGEST_EASE:
        found.append((ease.MODEL, _ease(protocol.report.train)))
    return found


def _popularity(protocol: Protocol) -> Grid:
    if not protocol.has_times:
        return [{"half_life_days": 0.0}]
    return [{"half_life_days": days} for days in (0.0, 7.0, 30.0, 90.0)]


def _item_to_item(protocol: Protocol) -> Grid:
    if not protocol.ordered:
        sizes = (50, 100, 200, 400)
        return [{"neighbours": n, "decay": 1.0, "transition_weight": 0.0} for n in sizes]
    tried = product((100, 300), (0.6, 0.8, 0.9), (1.0, 2.0, 4.0))
    return [{"neighbours": n, "decay": decay, "transition_weight": weight} for n, decay, weight in tried]


def _ease(train: Interactions) -> Grid:
    """Good penalties grow with the number of interactions for each item."""
    middle = len(train) / max(1, len(train.items)) * 2.0
    return [{"l2": round(middle * factor, 1)} for factor in (0.25, 0.5, 0.75, 1.0, 1.5, 2.5)]
