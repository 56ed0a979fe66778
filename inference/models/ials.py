"""iALS: matrix factorisation of implicit feedback, whose users are folded in when they ask.

Only the items' factors are kept. A user's factors follow from the history alone: the least-squares problem that the fit
solves for each user is solved in the graph by conjugate gradients, so somebody new is served without a new fit.

Sources: Hu, Koren and Volinsky 2008 (Collaborative filtering for implicit feedback datasets); objective and scaled
penalty as in Rendle, Krichene, Zhang and Koren 2022 (Revisiting the performance of iALS on item recommendation
benchmarks); conjugate gradients for it, Takács, Pilászy and Tikk 2011.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from onnx import NodeProto, helper

from inference.graph import Scoring
from inference.interactions import Float32Array, Interactions
from inference.model import Model
from inference.training.told import epoch
from schemas.errors import Invalid

ROWS = 512
"""Least-squares problems solved at once: bounds the memory for their matrices."""


@dataclass(frozen=True)
class IalsParams:
    """How the factors are fitted, and how a user is folded in.

    Args:
        factors: numbers that describe an item.
        l2: weight of the penalty on factors, times how much is known of the user or item.
        unobserved: weight of a pair that did not occur, where one that occurred weighs 1.
        iterations: rounds of solving for the users, then for the items.
        steps: of conjugate gradients when a user is folded in; more are exacter and slower.
        decay: weight of an interaction relative to the one after it, at serving; in (0, 1].
        seed: of the first factors.
    """

    factors: int = 64
    l2: float = 0.01
    unobserved: float = 0.1
    iterations: int = 12
    steps: int = 12
    decay: float = 1.0
    seed: int = 7

    def __post_init__(self) -> None:
        if self.factors < 2 or min(self.iterations, self.steps) < 1 or not 0 < self.decay <= 1:
            raise Invalid(
                "factors must be 2 or more, iterations and steps 1 or more, decay in (0, 1]", code="model_params"
            )
        if self.l2 <= 0 or self.unobserved < 0:
            raise Invalid("l2 must be above 0, unobserved 0 or more", code="model_params")


@dataclass(frozen=True, eq=False)
class Factors:
    """What is needed to fold a user in and to score.

    Args:
        items: shape (items, factors).
        gram: of the items, weighed as unobserved; shape (factors, factors).
        l2: penalty for each unit of the history's weight.
        ridge: penalty for a user without history.
        steps: of conjugate gradients.
    """

    items: Float32Array
    gram: Float32Array
    l2: np.float32
    ridge: np.float32
    steps: int


def fit(dataset: Interactions, params: IalsParams) -> Factors:
    """Solve for users and items in turn."""
    by_user = dataset.matrix()
    by_item = by_user.T.tocsr()
    shape = (len(dataset.items), params.factors)
    items = np.random.default_rng(params.seed).normal(0.0, 0.1 / np.sqrt(params.factors), shape)
    for done in range(1, params.iterations + 1):
        users = _solved(by_user, items, params)
        items = _solved(by_item, users, params)
        epoch(done, params.iterations)
    kept = items.astype(np.float32)
    gram = params.unobserved * (items.T @ items)
    ridge = np.float32(params.l2 * params.unobserved * len(items))
    return Factors(kept, gram.astype(np.float32), np.float32(params.l2), ridge, params.steps)


def _solved(known: "sp.csr_array[Any, Any]", other: NDArray[np.float64], params: IalsParams) -> NDArray[np.float64]:
    """The best factors of every row, the other side's being fixed."""
    gram = params.unobserved * (other.T @ other)
    found = np.zeros((known.shape[0], params.factors))
    for start in range(0, len(found), ROWS):
        rows = range(start, min(start + ROWS, len(found)))
        problems = np.empty((len(rows), params.factors, params.factors))
        wanted = np.empty((len(rows), params.factors, 1))
        for place, row in enumerate(rows):
            pairs = slice(known.indptr[row], known.indptr[row + 1])
            part, weight = other[known.indices[pairs]], known.data[pairs]
            problems[place] = gram + (part.T * weight) @ part
            problems[place].flat[:: params.factors + 1] += params.l2 * (weight.sum() + params.unobserved * len(other))
            wanted[place, :, 0] = weight @ part
        found[start : start + ROWS] = np.linalg.solve(problems, wanted)[:, :, 0]
    return found


def scoring(weights: Factors) -> Scoring:
    """Solve for the user's factors and multiply them with those of every item.

    All sums run over the first axis: onnxruntime then adds one after another, whatever the batch and the padding (see
    `ease.scoring`). Vectors lie as (factors, users).
    """
    node = helper.make_node
    nodes = [
        node("Transpose", ["slots"], ["slots_by_time"], perm=[1, 0]),
        node("Transpose", ["strengths"], ["by_time"], perm=[1, 0]),
        node("Gather", ["item_factors", "slots_by_time"], ["met"]),
        node("Transpose", ["met"], ["met_by_factor"], perm=[2, 0, 1]),
        node("Transpose", ["met"], ["met_by_time"], perm=[0, 2, 1]),
        node("Unsqueeze", ["by_time", "axis_1"], ["strengths_by_time"]),
        node("Mul", ["met_by_time", "strengths_by_time"], ["wanted_parts"]),
        node("ReduceSum", ["wanted_parts", "axis_0"], ["wanted"], keepdims=0),
        *_sum("by_time", "known_weight"),
        node("Mul", ["known_weight", "l2"], ["known_penalty"]),
        node("Add", ["known_penalty", "ridge"], ["penalty"]),
        *_dot("wanted", "wanted", "rr_0"),
        node("Sub", ["wanted", "wanted"], ["x_0"]),
        node("Identity", ["wanted"], ["r_0"]),
        node("Identity", ["wanted"], ["p_0"]),
        *(one for step in range(weights.steps) for one in _step(step)),
        node("Unsqueeze", [f"x_{weights.steps}", "axis_2"], ["user_factors"]),
        node("Mul", ["user_factors", "factors_of_items"], ["score_parts"]),
        node("ReduceSum", ["score_parts", "axis_0"], ["raw"], keepdims=0),
    ]
    padded = np.pad(weights.items, ((0, 1), (0, 0)))
    tables: dict[str, NDArray[Any]] = {
        "item_factors": padded,
        "factors_of_items": padded.T[:, np.newaxis],
        "gram_columns": weights.gram[:, :, np.newaxis],
        "l2": np.array(weights.l2, np.float32),
        "ridge": np.array(weights.ridge, np.float32),
        "twice": np.ones((1, 1, 2), np.float32),
        **{f"axis_{axis}": np.array([axis], np.int64) for axis in range(3)},
    }
    return Scoring(nodes, tables)


def _step(step: int) -> list[NodeProto]:
    """One step of conjugate gradients; where nothing is left to gain, or there is no history, it changes nothing."""
    node = helper.make_node
    now, after = step, step + 1
    return [
        *_applied(f"p_{now}", f"ap_{now}"),
        *_dot(f"p_{now}", f"ap_{now}", f"pap_{now}"),
        *_ratio(f"rr_{now}", f"pap_{now}", f"alpha_{now}"),
        node("Mul", [f"p_{now}", f"alpha_{now}"], [f"dx_{now}"]),
        node("Add", [f"x_{now}", f"dx_{now}"], [f"x_{after}"]),
        node("Mul", [f"ap_{now}", f"alpha_{now}"], [f"dr_{now}"]),
        node("Sub", [f"r_{now}", f"dr_{now}"], [f"r_{after}"]),
        *_dot(f"r_{after}", f"r_{after}", f"rr_{after}"),
        *_ratio(f"rr_{after}", f"rr_{now}", f"beta_{now}"),
        node("Mul", [f"p_{now}", f"beta_{now}"], [f"old_{now}"]),
        node("Add", [f"r_{after}", f"old_{now}"], [f"p_{after}"]),
    ]


def _applied(vector: str, result: str) -> list[NodeProto]:
    """The matrix of the least-squares problem times a vector: unobserved pairs, history, penalty."""
    node = helper.make_node
    return [
        node("Unsqueeze", [vector, "axis_1"], [f"{result}_across"]),
        node("Mul", ["gram_columns", f"{result}_across"], [f"{result}_all_parts"]),
        node("ReduceSum", [f"{result}_all_parts", "axis_0"], [f"{result}_all"], keepdims=0),
        node("Mul", ["met_by_factor", f"{result}_across"], [f"{result}_met_parts"]),
        node("ReduceSum", [f"{result}_met_parts", "axis_0"], [f"{result}_met"], keepdims=0),
        node("Mul", [f"{result}_met", "by_time"], [f"{result}_met_weighed"]),
        node("Unsqueeze", [f"{result}_met_weighed", "axis_1"], [f"{result}_met_factors"]),
        node("Mul", ["met_by_time", f"{result}_met_factors"], [f"{result}_known_parts"]),
        node("ReduceSum", [f"{result}_known_parts", "axis_0"], [f"{result}_known"], keepdims=0),
        node("Mul", [vector, "penalty"], [f"{result}_penalised"]),
        node("Add", [f"{result}_all", f"{result}_known"], [f"{result}_both"]),
        node("Add", [f"{result}_both", f"{result}_penalised"], [result]),
    ]


def _dot(one: str, other: str, result: str) -> list[NodeProto]:
    """Sum of products over the factors, for each user."""
    return [helper.make_node("Mul", [one, other], [f"{result}_products"]), *_sum(f"{result}_products", result)]


def _sum(vectors: str, result: str) -> list[NodeProto]:
    """Sum over the first axis, for each user.

    It is computed twice beside each other: a reduction to a single number would be added up in another order.
    """
    node = helper.make_node
    return [
        node("Unsqueeze", [vectors, "axis_2"], [f"{result}_column"]),
        node("Mul", [f"{result}_column", "twice"], [f"{result}_pair"]),
        node("ReduceSum", [f"{result}_pair", "axis_0"], [f"{result}_sums"], keepdims=0),
        node("Gather", [f"{result}_sums", "first"], [f"{result}_of_each"], axis=1),
        node("Squeeze", [f"{result}_of_each", "axis_1"], [result]),
    ]


def _ratio(above: str, below: str, result: str) -> list[NodeProto]:
    """A quotient, 0 where there is nothing to divide by."""
    node = helper.make_node
    return [
        node("Greater", [below, "nothing"], [f"{result}_some"]),
        node("Div", [above, below], [f"{result}_quotient"]),
        node("Where", [f"{result}_some", f"{result}_quotient", "nothing"], [result]),
    ]


MODEL = Model("ials", 1, IalsParams(), fit, scoring, decay=lambda params: params.decay)
