"""EASE: a linear autoencoder between items, solved in closed form.

Source: Steck 2019 (Embarrassingly shallow autoencoders for sparse data).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper
from scipy.linalg import lapack

from inference.graph import Scoring
from inference.interactions import Float32Array, Interactions
from inference.model import Model
from schemas.errors import Invalid

MAX_ITEMS = 20_000
"""The dense item-by-item matrix has to stay under the 2 GiB of one ONNX file."""


@dataclass(frozen=True)
class EaseParams:
    """How EASE is fitted.

    Args:
        l2: weight of the ridge penalty; the more, the more an item is explained by popular ones. Good values grow with
            the number of interactions: 250 for 100 thousand, 500 for a million.
    """

    l2: float = 250.0

    def __post_init__(self) -> None:
        if not self.l2 > 0:
            raise Invalid("l2 must be above 0, or the matrix may have no inverse", code="model_params")


def fit(dataset: Interactions, params: EaseParams) -> Float32Array:
    """The item-by-item weights, shape (items, items), zero on the diagonal.

    Raises:
        Invalid: more items than fit into one file.
    """
    if len(dataset.items) > MAX_ITEMS:
        raise Invalid(
            f"ease takes up to {MAX_ITEMS} items, the dataset has {len(dataset.items)}: filter it or use item-to-item",
            code="too_many_items",
        )
    matrix = dataset.matrix()
    gram = (matrix.T @ matrix).toarray()
    gram[np.diag_indices_from(gram)] += params.l2
    inverse = _inverse(gram)
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return weights.astype(np.float32)


def _inverse(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse of a symmetric positive definite matrix by Cholesky, half the work of a general one."""
    factor, failed = lapack.dpotrf(gram.T, lower=0, overwrite_a=1)
    upper, failed_again = lapack.dpotri(factor, lower=0, overwrite_c=1)
    if failed or failed_again:
        raise Invalid("the item matrix has no inverse: raise l2", code="model_params")
    inverse: NDArray[np.float64] = np.triu(upper) + np.triu(upper, 1).T
    return inverse


def scoring(weights: Float32Array) -> Scoring:
    """Add up the rows of the history, oldest first.

    The time axis goes in front: onnxruntime then adds one row after another, for any batch size and any padding;
    over a middle axis it groups the sums by the batch size.
    """
    node = helper.make_node
    nodes = [
        node("Transpose", ["slots"], ["slots_by_time"], perm=[1, 0]),
        node("Transpose", ["strengths"], ["strengths_by_time"], perm=[1, 0]),
        node("Gather", ["item_weights", "slots_by_time"], ["table_rows"]),
        node("Unsqueeze", ["strengths_by_time", "last_axis"], ["factors"]),
        node("Mul", ["table_rows", "factors"], ["parts"]),
        node("ReduceSum", ["parts", "time_axis"], ["raw"], keepdims=0),
    ]
    tables: dict[str, NDArray[Any]] = {
        "item_weights": np.pad(weights, (0, 1)),
        "last_axis": np.array([2], np.int64),
        "time_axis": np.array([0], np.int64),
    }
    return Scoring(nodes, tables)


MODEL = Model("ease", 1, EaseParams(), fit, scoring)
