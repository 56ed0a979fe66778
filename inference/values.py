"""Features that say how high something is rated: one of items, one of users."""

import polars as pl

from inference.feature import KEY, Feature, Source


def mean_value(name: str, source: Source, about: str) -> Feature:
    """The mean of the values that a key's interactions had so far; null before the first."""
    column = f"{name}_mean_value"

    def read(states: pl.DataFrame) -> pl.DataFrame:
        mean = pl.when(pl.col("values") > 0).then(pl.col("total") / pl.col("values"))
        return states.select(mean.alias(column))

    return Feature(
        name=f"{name}_value",
        version=1,
        about=about,
        source=source,
        columns={column: pl.Float64},
        fold=_fold,
        read=read,
    )


def _fold(events: pl.DataFrame) -> pl.DataFrame:
    """How many values there were, and their sum."""
    return events.select(
        values=pl.col("value").is_not_null().cast(pl.Int64).cum_sum().over(KEY),
        total=pl.col("value").fill_null(0.0).cum_sum().over(KEY),
    )
