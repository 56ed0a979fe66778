"""What a user had said about themselves."""

import polars as pl

from inference.feature import Feature, Source, latest, seconds
from schemas.profiles import PreferencesChanged, UserRegistered

SAID = ("favourite_categories", "hidden_categories", "language")


def fold(events: pl.DataFrame) -> pl.DataFrame:
    """The last preferences, each of which replaces the one before, and when the user was registered."""
    said = latest(events, pl.col("type") == PreferencesChanged.AVRO, *SAID)
    registered = latest(events, pl.col("type") == UserRegistered.AVRO, "written").rename({"written": "registered"})
    return pl.concat([said, registered], how="horizontal")


def read(states: pl.DataFrame) -> pl.DataFrame:
    """As they stood; nothing where nothing was said."""
    nothing = pl.lit([], dtype=pl.List(pl.String))
    return states.select(
        user_favourite_categories=pl.col("favourite_categories").fill_null(nothing),
        user_hidden_categories=pl.col("hidden_categories").fill_null(nothing),
        user_language=pl.col("language"),
        user_registered_s=seconds(pl.col("written") - pl.col("registered")),
    )


FEATURE = Feature(
    name="user_profile",
    version=1,
    about="The user's favourite and hidden categories and language, and seconds since they were registered.",
    source=Source.PROFILE,
    columns={
        "user_favourite_categories": pl.List(pl.String),
        "user_hidden_categories": pl.List(pl.String),
        "user_language": pl.String,
        "user_registered_s": pl.Float64,
    },
    fold=fold,
    read=read,
)
