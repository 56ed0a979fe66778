"""How much an item is met."""

from datetime import timedelta

import polars as pl

from inference.feature import Feature, Source

WINDOWS = {"1d": timedelta(days=1), "7d": timedelta(days=7), "30d": timedelta(days=30)}


def fold(events: pl.DataFrame) -> pl.DataFrame:
    """Nothing beside the number of events."""
    return events.select("clock")


def read(states: pl.DataFrame) -> pl.DataFrame:
    """How many ever, and in each window."""
    within = {f"item_interactions_{name}": pl.col(f"within_{place}") for place, name in enumerate(WINDOWS)}
    return states.select(item_interactions=pl.col("known"), **within)


FEATURE = Feature(
    name="item_popularity",
    version=1,
    about="How many interactions the item had: ever, and in the day, week and 30 days before.",
    source=Source.ITEM,
    columns={"item_interactions": pl.Int64, **{f"item_interactions_{name}": pl.Int64 for name in WINDOWS}},
    fold=fold,
    read=read,
    windows=tuple(WINDOWS.values()),
)
