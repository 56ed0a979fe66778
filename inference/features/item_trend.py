"""How much an item is met now: a sum that halves every week."""

from datetime import timedelta

import polars as pl

from inference.decay import decayed, masses
from inference.feature import Feature, Source

HALF_LIFE = timedelta(days=7)


def fold(events: pl.DataFrame) -> pl.DataFrame:
    """The sum, in units of the span that it stands in."""
    return masses(events, HALF_LIFE)


def read(states: pl.DataFrame) -> pl.DataFrame:
    """The sum at the time of the row; 0 before the first event."""
    return states.select(item_decayed_interactions=decayed(states, HALF_LIFE))


FEATURE = Feature(
    name="item_trend",
    version=1,
    about="The item's interactions, each counting half as much after a week.",
    source=Source.ITEM,
    columns={"item_decayed_interactions": pl.Float64},
    fold=fold,
    read=read,
)
