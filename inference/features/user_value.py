"""How high a user rates."""

import polars as pl

from inference.feature import KEY, Feature, Source


def fold(events: pl.DataFrame) -> pl.DataFrame:
    """How many values there were, and their sum."""
    return events.select(
        values=pl.col("value").is_not_null().cast(pl.Int64).cum_sum().over(KEY),
        total=pl.col("value").fill_null(0.0).cum_sum().over(KEY),
    )


def read(states: pl.DataFrame) -> pl.DataFrame:
    """Their mean; null before the first."""
    mean = pl.when(pl.col("values") > 0).then(pl.col("total") / pl.col("values"))
    return states.select(user_mean_value=mean)


FEATURE = Feature(
    name="user_value",
    version=1,
    about="Mean value (rating, price, ...) of the user's interactions that had one.",
    source=Source.USER,
    columns={"user_mean_value": pl.Float64},
    fold=fold,
    read=read,
)
