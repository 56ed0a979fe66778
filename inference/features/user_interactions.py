"""How much a user has done."""

import polars as pl

from inference.feature import Feature, Source, seconds


def fold(events: pl.DataFrame) -> pl.DataFrame:
    """Nothing beside the number of events."""
    return events.select("clock")


def read(states: pl.DataFrame) -> pl.DataFrame:
    """How many, and how long since the last; null before the first."""
    return states.select(user_interactions=pl.col("known"), user_recency_s=seconds(pl.col("at") - pl.col("clock")))


FEATURE = Feature(
    name="user_interactions",
    version=1,
    about="How many interactions the user had, and seconds since the last of them.",
    source=Source.USER,
    columns={"user_interactions": pl.Int64, "user_recency_s": pl.Float64},
    fold=fold,
    read=read,
)
