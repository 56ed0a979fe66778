"""Which events a training run has read beside the interactions of its rows: what people said, and what items were.

Every run reads consent to training and erasures from `profiles`. One whose filters ask for a category reads `catalog`;
one that joins features folds what its manifest names of both. So a bad batch there has touched the datasets of some
runs and not of others, by what is on record of each.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from projections.lineage.judge import PROFILES, Recipe, Verdict
from schemas.models import OffsetRange

CATALOG = "catalog"
CONTEXT = (CATALOG, PROFILES)
"""Topics of which datasets read something without having rows of them."""

EVENT: Mapping[str, Any] = {"_partition": pl.Int32, "_offset": pl.Int64, "about": pl.String, "word": pl.String}
"""An event there: of whom or what, and on profiles what was said (`given`, `withdrawn`, `erased`); null otherwise."""


@dataclass(frozen=True)
class Context:
    """The events of one topic that somebody asks about.

    Attributes:
        rows: with the columns of `EVENT`.
    """

    topic: str
    rows: pl.DataFrame


def read_by(recipe: Recipe, folded: Iterable[OffsetRange], context: Context) -> Verdict:
    """What of the context a run has read.

    Args:
        folded: what its features were folded from.
    """
    topic, rows = context.topic, context.rows
    by_features = _within(topic, folded)
    by_rows = _within(topic, recipe.ranges)
    if topic == PROFILES:
        erased = pl.col("word") == "erased"
        speaks = pl.col("word").is_not_null() & ~erased
        by_rows = (by_rows & speaks) | (_within(topic, recipe.erasures) & erased)
    read = rows.filter((by_features | by_rows).fill_null(value=False)).sort("_partition", "_offset")
    inside = rows.filter(by_features | _within(topic, recipe.ranges) | _within(topic, recipe.erasures))
    left = {"outside": len(rows) - len(inside), "silent": len(inside) - len(read)}
    return _verdict(topic, read, {name: count for name, count in left.items() if count})


def _verdict(topic: str, read: pl.DataFrame, left_out: Mapping[str, int]) -> Verdict:
    if not len(read):
        return Verdict(left_out=left_out)
    places = [f"{topic}/{read['_partition'][at]}/{read['_offset'][at]}" for at in (0, -1)]
    different = read["about"].n_unique()
    users, items = (different, 0) if topic == PROFILES else (0, different)
    return Verdict(len(read), users, items, left_out, places[0], places[1])


def _within(topic: str, ranges: Iterable[OffsetRange]) -> pl.Expr:
    inside = pl.lit(value=False)
    for part in ranges:
        if part.topic == topic:
            offsets = pl.col("_offset").is_between(part.first, part.end, closed="left")
            inside = inside | ((pl.col("_partition") == part.partition) & offsets)
    return inside
