"""What a user allowed."""

import polars as pl

from inference.feature import Feature, Source, latest
from schemas.profiles import ConsentGiven, ConsentWithdrawn

PURPOSES = ("personalisation", "training")


def fold(events: pl.DataFrame) -> pl.DataFrame:
    """The last word on each purpose."""
    told = events.with_columns(given=pl.col("type") == ConsentGiven.AVRO)
    spoken = pl.col("type").is_in([ConsentGiven.AVRO, ConsentWithdrawn.AVRO])
    words = [latest(told, spoken & (pl.col("purpose") == purpose), "given") for purpose in PURPOSES]
    return pl.DataFrame({purpose: word["given"] for purpose, word in zip(PURPOSES, words, strict=True)})


def read(states: pl.DataFrame) -> pl.DataFrame:
    """Allowed until somebody says otherwise, as everywhere."""
    return states.select(pl.col(purpose).fill_null(True).alias(f"user_allows_{purpose}") for purpose in PURPOSES)


FEATURE = Feature(
    name="user_consent",
    version=1,
    about="Whether the user allowed personalisation and training then.",
    source=Source.PROFILE,
    columns={f"user_allows_{purpose}": pl.Boolean for purpose in PURPOSES},
    fold=fold,
    read=read,
)
