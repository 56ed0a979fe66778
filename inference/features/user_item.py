"""What was between this user and this item before."""

import polars as pl

from inference.feature import Feature, Source, seconds


def fold(events: pl.DataFrame) -> pl.DataFrame:
    """Nothing beside the number of events."""
    return events.select("clock")


def read(states: pl.DataFrame) -> pl.DataFrame:
    """How often, and how long ago; null before the first time."""
    return states.select(
        user_item_interactions=pl.col("known"),
        user_item_recency_s=seconds(pl.col("at") - pl.col("clock")),
    )


FEATURE = Feature(
    name="user_item",
    version=1,
    about="How many interactions the user had with this very item, and seconds since the last of them.",
    source=Source.PAIR,
    columns={"user_item_interactions": pl.Int64, "user_item_recency_s": pl.Float64},
    fold=fold,
    read=read,
)
