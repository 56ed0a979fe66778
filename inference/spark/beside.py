"""Spark's ALS beside our models, all measured on the same held-out end."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl
from pyspark.sql import DataFrame, SparkSession

from inference.interactions import Interactions
from inference.models.ials import MODEL as IALS
from inference.models.popularity import MODEL as POPULARITY
from inference.scorer import OnnxScorer
from inference.spark import als
from inference.training.evaluation import Evaluation, cases, evaluate, shares
from inference.training.split import by_time

TEST_SHARE = 0.1
FOLD_IN = 0.5


def beside(
    spark: SparkSession, data: Interactions, params: als.AlsParams, k: int, folder: Path
) -> Mapping[str, Evaluation]:
    """Metrics of Spark's ALS, our iALS of as many factors and popularity, each fitted without the held-out end.

    Args:
        folder: where the interactions that Spark may learn from are put for it.

    Raises:
        Invalid: there is too little data to hold any out.
    """
    train, test = by_time(data, TEST_SHARE)
    asked = cases(train, test, fold_in=FOLD_IN)
    popular = OnnxScorer(POPULARITY.train(train, POPULARITY.params, k))
    scorers = {
        "spark-als": OnnxScorer(als.artifact(als.fit(_pairs(spark, train, folder), params), params, k)),
        "ials": OnnxScorer(IALS.train(train, replace(IALS.params, factors=params.rank), k)),
        "popularity": popular,
    }
    return {name: evaluate(scorer, asked, k, shares(train), popular) for name, scorer in scorers.items()}


def _pairs(spark: SparkSession, data: Interactions, folder: Path) -> DataFrame:
    """Who met what, for Spark to read."""
    users, items = pl.Series(data.users), pl.Series(data.items)
    table = pl.DataFrame({"user_id": users.gather(data.user), "item_id": items.gather(data.item)})
    folder.mkdir(parents=True)
    table.write_parquet(folder / "train.parquet")
    return spark.read.parquet(str(folder / "train.parquet"))
