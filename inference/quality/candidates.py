"""What is measured: models, the name of each one's row, and the hyper-parameters that are tried."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from inference.interactions import Interactions
from inference.model import Model
from inference.models import co_occurrence, ease, ials, item_to_item, popularity, recent, sasrec
from inference.quality.protocols import Protocol

LARGEST = 6_000
"""Items up to which the models that score all of them with dense tables are tried here.

The time of EASE grows with their third power; iALS multiplies the factors of all of them for each answer.
"""

Grid = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Candidate:
    """A row of ours.

    Attributes:
        name: of the row.
        grid: hyper-parameters to choose from; what one does not name has its default.
    """

    name: str
    model: Model[Any, Any]
    grid: Grid


def candidates(protocol: Protocol, *, sequence_model: bool = False) -> list[Candidate]:
    """The models that suit a protocol; the first ones tell how popular items are, and need no history.

    Args:
        sequence_model: whether SASRec is to be trained, too: it takes minutes, and the extra `torch`.
    """
    train = protocol.report.train
    found = [Candidate("item-to-item", item_to_item.MODEL, _item_to_item(protocol))]
    if protocol.ordered:
        found.append(Candidate("co-occurrence", co_occurrence.MODEL, [{"decay": d} for d in (0.6, 0.7, 0.8, 0.9)]))
    if protocol.has_times:
        found.append(Candidate("recent", recent.MODEL, _recent()))
    if len(train.items) <= LARGEST:
        found.append(Candidate("ease", ease.MODEL, _ease(train)))
        found.append(Candidate("ials", ials.MODEL, _ials(protocol)))
    if sequence_model:
        found.append(Candidate("sasrec", sasrec.MODEL, [{}]))
    return [*baselines(protocol), *found]


def baselines(protocol: Protocol) -> list[Candidate]:
    """Popularity; where there are times, also that of lately."""
    found = [Candidate("popularity", popularity.MODEL, [{"half_life_days": 0.0}])]
    if protocol.has_times:
        grid = [{"half_life_days": days} for days in (3.0, 7.0, 30.0, 90.0)]
        found.append(Candidate("decayed popularity", popularity.MODEL, grid))
    return found


def _item_to_item(protocol: Protocol) -> Grid:
    if not protocol.ordered:
        sizes = (50, 100, 200, 400)
        return [{"neighbours": n, "decay": 1.0, "transition_weight": 0.0} for n in sizes]
    tried = product((100, 300), (0.6, 0.8, 0.9), (1.0, 2.0, 4.0))
    return [{"neighbours": n, "decay": decay, "transition_weight": weight} for n, decay, weight in tried]


def _recent() -> Grid:
    tried = product((0.8, 0.9), (3.0, 7.0), (0.3, 0.6, 1.0))
    return [{"decay": decay, "half_life_days": days, "popular_weight": weight} for decay, days, weight in tried]


def _ease(train: Interactions) -> Grid:
    """Good penalties grow with the number of interactions for each item."""
    middle = len(train) / max(1, len(train.items)) * 2.0
    return [{"l2": round(middle * factor, 1)} for factor in (0.25, 0.5, 0.75, 1.0, 1.5, 2.5)]


def _ials(protocol: Protocol) -> Grid:
    """Where order matters, the newest interactions count most when a user is folded in."""
    return [{"unobserved": unobserved, "decay": 0.8 if protocol.ordered else 1.0} for unobserved in (0.1, 0.3)]
