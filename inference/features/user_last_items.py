"""What a user met last."""

import polars as pl

from inference.feature import KEY, Feature, Source

PLACES = 10


def fold(events: pl.DataFrame) -> pl.DataFrame:
    """The item of each of the last events, the newest at place 0."""
    return events.select(pl.col("item_id").shift(place).over(KEY).alias(f"place{place}") for place in range(PLACES))


def read(states: pl.DataFrame) -> pl.DataFrame:
    """Those that there are, oldest first."""
    oldest_first = [f"place{place}" for place in reversed(range(PLACES))]
    return states.select(user_last_items=pl.concat_list(oldest_first).list.drop_nulls())


FEATURE = Feature(
    name="user_last_items",
    version=1,
    about=f"The last {PLACES} items the user met, in the order in which they became known, newest last.",
    source=Source.USER,
    columns={"user_last_items": pl.List(pl.String)},
    fold=fold,
    read=read,
)
