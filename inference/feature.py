"""What every feature is: a frozen value that holds two pure functions, found by discovery in `inference/features`.

`fold` says what is known after each event of a key, `read` what that means for an interaction. Neither sees which
events an interaction may know of: `inference.datasets.pointintime` decides that, the same way for all of them.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TypeAlias

import polars as pl

import inference.features
from infra.discover import discover
from schemas.errors import Invalid

Kinds: TypeAlias = Mapping[str, pl.DataType | type[pl.DataType]]

KEY = "_key"
"""Column that numbers the keys of events; a fold stays within it: `.over(KEY)`."""


class Source(Enum):
    """The events that a feature folds: their topic, what keys them, and whether they are the row's own.

    The interactions of a row's own user stand in the row's own partition, so their order is that of the log. All others
    are ordered by when they became known.
    """

    USER = ("interactions", ("user_id",), True)
    PAIR = ("interactions", ("user_id", "item_id"), True)
    ITEM = ("interactions", ("item_id",), False)
    PROFILE = ("profiles", ("user_id",), False)
    CATALOGUE = ("catalog", ("item_id",), False)

    def __init__(self, topic: str, key: tuple[str, ...], is_own: bool) -> None:
        self.topic, self.key, self.is_own = topic, key, is_own


@dataclass(frozen=True)
class Feature:
    """One feature, of one or more columns.

    Args:
        name: unique, snake_case.
        version: raise it when the same events would give other values.
        about: what it says, in a sentence.
        source: the events it folds.
        columns: names and kinds of what it adds to a row.
        fold: from the events, sorted by key and then in order, what is known after each of them; looks only backwards.
            Events have the fields of their source, `type` (of the event), `at` (when it happened), `clock` (the latest
            `at` of the key so far) and `written` (when it became known), all microseconds since 1970.
        read: from what `fold` said of the last event that each row knows of (null where it knows of none) the columns.
            Beside it stand the row's own `at` and `written`, `known` (how many events of the key it knows of) and
            `within_0`, ... (how many of these lie in each window).
        windows: lengths of time before the row, by the key's clock.
    """

    name: str
    version: int
    about: str
    source: Source
    columns: Kinds
    fold: Callable[[pl.DataFrame], pl.DataFrame]
    read: Callable[[pl.DataFrame], pl.DataFrame]
    windows: tuple[timedelta, ...] = ()


def features() -> dict[str, Feature]:
    """Every declared feature by name."""
    return discover(inference.features, Feature)


def named(names: Collection[str]) -> tuple[Feature, ...]:
    """The features of these names, in the order of their names.

    Raises:
        Invalid: there is none of a name.
    """
    declared = features()
    if unknown := sorted(set(names) - set(declared)):
        raise Invalid(
            f"there is no feature {', '.join(unknown)}: there are {', '.join(sorted(declared))}", code="unknown_feature"
        )
    return tuple(declared[name] for name in sorted(set(names)))


def seconds(microseconds: pl.Expr) -> pl.Expr:
    """Multiplied, never divided: polars divides many rows by a number through its reciprocal, and a single row really.

    The last bit would depend on how many rows are worked on at once.
    """
    return microseconds.cast(pl.Float64) * 1e-6


def latest(events: pl.DataFrame, when: pl.Expr, *columns: str) -> pl.DataFrame:
    """After each event, these columns of the key's last event of which `when` holds; null before there was one."""
    at = pl.when(when).then(pl.col("_row")).forward_fill().over(KEY)
    last = events.with_row_index("_row").select(at.cast(pl.Int64))["_row"]
    return events.select(pl.col(name).gather(last) for name in columns)
