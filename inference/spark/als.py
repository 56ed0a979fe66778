"""Spark's ALS on implicit feedback, exported with the common signature: users are folded in when they ask.

Spark solves for each user (YᵀY + α Σ yyᵀ + λn) x = (1 + α) Σ y, over the n items y that the user met. Divided by α this
is the problem that `inference.models.ials` solves in its graph, but for a factor that all scores share. So the items'
factors are all that is taken over, and somebody new is served as Spark itself would serve them after another fit.

Source: Hu, Koren and Volinsky 2008; the penalty scaled by n, Zhou, Wilkinson, Schreiber and Pan 2008.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from pyspark.ml.feature import StringIndexer
from pyspark.ml.recommendation import ALS
from pyspark.sql import DataFrame

from inference.interactions import Float32Array, Interactions
from inference.model import Model
from inference.models.ials import Factors, scoring
from schemas.errors import Invalid


@dataclass(frozen=True)
class AlsParams:
    """As Spark calls them, but for the last two, which are for serving.

    Args:
        rank: numbers that describe an item.
        reg: weight of the penalty on factors, times the number of interactions.
        alpha: how much more a pair that occurred weighs than one that did not, which weighs 1.
        iterations: rounds of solving for items, then users.
        blocks: parts that users and items are cut into; the first factors depend on it as well.
        seed: of the first factors.
        steps: of conjugate gradients when a user is folded in.
        decay: weight of an interaction relative to the one after it; in (0, 1].
    """

    rank: int = 32
    reg: float = 0.05
    alpha: float = 10.0
    iterations: int = 10
    blocks: int = 10
    seed: int = 7
    steps: int = 12
    decay: float = 1.0

    def __post_init__(self) -> None:
        if min(self.rank, self.iterations, self.blocks, self.steps) < 1 or not 0 < self.decay <= 1:
            raise Invalid("rank, iterations, blocks and steps must be 1 or more, decay in (0, 1]", code="model_params")
        if self.reg <= 0 or self.alpha <= 0:
            raise Invalid("reg and alpha must be above 0", code="model_params")


def configured(values: Mapping[str, Any]) -> AlsParams:
    """The default parameters with `values` put over them.

    Raises:
        Invalid: a name is unknown, or a value has the wrong type or range.
    """
    return MODEL.configure(values)


@dataclass(frozen=True, eq=False)
class Fitted:
    """What Spark found.

    Attributes:
        items: vocabulary, sorted.
        factors: of the items, in that order.
        users: vocabulary, sorted.
        user_factors: as Spark left them, to compare with what is folded in.
    """

    items: tuple[str, ...]
    factors: Float32Array
    users: tuple[str, ...]
    user_factors: Float32Array


def fit(rows: DataFrame, params: AlsParams) -> Fitted:
    """Fit on who met what, each pair once.

    Args:
        rows: with `user_id` and `item_id`.

    Raises:
        Invalid: there are no rows.
    """
    pairs = rows.select("user_id", "item_id").distinct().selectExpr("user_id", "item_id", "1f AS rating").cache()
    if not pairs.head(1):
        raise Invalid("the dataset has no interactions: widen its range or filters", code="empty_dataset")
    names = StringIndexer(inputCols=["user_id", "item_id"], outputCols=["user", "item"], stringOrderType="alphabetAsc")
    indexer = names.fit(pairs)
    als = ALS(
        rank=params.rank,
        maxIter=params.iterations,
        regParam=params.reg,
        implicitPrefs=True,
        alpha=params.alpha,
        seed=params.seed,
        numUserBlocks=params.blocks,
        numItemBlocks=params.blocks,
        userCol="user",
        itemCol="item",
        ratingCol="rating",
    )
    model = als.fit(indexer.transform(pairs).selectExpr("int(user) user", "int(item) item", "rating"))
    users, items = indexer.labelsArray
    found = Fitted(tuple(items), _matrix(model.itemFactors), tuple(users), _matrix(model.userFactors))
    pairs.unpersist()
    return found


def _matrix(factors: DataFrame) -> Float32Array:
    """Rows by id, which go from 0 on."""
    found = pl.from_arrow(factors.toArrow())
    assert isinstance(found, pl.DataFrame)
    matrix: Float32Array = np.array(found.sort("id")["features"].to_list(), np.float32)
    return matrix


def artifact(fitted: Fitted, params: AlsParams, k: int) -> bytes:
    """The ONNX file with the common signature."""
    order = sorted(range(len(fitted.items)), key=fitted.items.__getitem__)
    factors = fitted.factors[order]
    gram = factors.T @ factors / np.float32(params.alpha)
    weights = Factors(factors, gram, np.float32(params.reg / params.alpha), np.float32(0), params.steps)
    return MODEL.to_onnx(weights, sorted(fitted.items), k, params)


def _elsewhere(_data: Interactions, _params: AlsParams) -> Factors:
    raise Invalid("spark-als is fitted on Spark: `retrace dataset spark MANIFEST --als`", code="fitted_on_spark")


MODEL = Model("spark-als", 1, AlsParams(), _elsewhere, scoring, decay=lambda params: params.decay)
