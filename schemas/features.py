"""Generated from schemas/avro/features; change those files and run `python -m schemas.generate`."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemTrendMeasured:
    """How much an item was interacted with in a window.

    Attributes:
        item_id: Which item.
        window_start: Start of the window.
        window_end: End of the window, exclusive.
        interactions: Interactions in the window.
        score: Interactions of the window over what the window before would let expect; above 1 the item is rising.
    """

    AVRO: ClassVar[str] = "retrace.features.ItemTrendMeasured"

    item_id: str
    window_start: datetime
    window_end: datetime
    interactions: int
    score: float


FeaturesEvent: TypeAlias = ItemTrendMeasured
