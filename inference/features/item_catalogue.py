"""What the catalogue said about an item."""

import polars as pl

from inference.feature import KEY, Feature, Source, latest
from schemas.catalog import ItemAdded, ItemRetired

SAID = ("title", "categories")


def fold(events: pl.DataFrame) -> pl.DataFrame:
    """The last value of each field: what is null in a change stays; and whether the item has left."""
    said = [latest(events, pl.col(name).is_not_null(), name) for name in SAID]
    ends = pl.col("type").is_in([ItemAdded.AVRO, ItemRetired.AVRO])
    there = events.select(
        added=(pl.col("type") == ItemAdded.AVRO).cum_sum().over(KEY) > 0,
        retired=pl.when(ends).then(pl.col("type") == ItemRetired.AVRO).forward_fill().over(KEY).fill_null(False),
    )
    return pl.concat([*said, there], how="horizontal")


def read(states: pl.DataFrame) -> pl.DataFrame:
    """As it stood."""
    return states.select(
        item_known=pl.col("added").fill_null(False),
        item_title=pl.col("title"),
        item_categories=pl.col("categories").fill_null(pl.lit([], dtype=pl.List(pl.String))),
        item_retired=pl.col("retired").fill_null(False),
    )


FEATURE = Feature(
    name="item_catalogue",
    version=1,
    about="The item's title, its categories, whether the catalogue had it, and whether it had been retired.",
    source=Source.CATALOGUE,
    columns={
        "item_known": pl.Boolean,
        "item_title": pl.String,
        "item_categories": pl.List(pl.String),
        "item_retired": pl.Boolean,
    },
    fold=fold,
    read=read,
)
