"""The ONNX graph that all models share; a model adds only the nodes that score.

    history int32[B, L], weights float32[B, L] -> item_ids int32[B, K], scores float32[B, K]

B and L are free. A place of the history holds an item index; -1, or anything outside the vocabulary, is padding
and its weight is ignored. The answer is sorted by score, and equal scores by the smaller index. An item is never
answered when it is in the history, nor when its score is exactly 0, which means that nothing speaks for it. Places
left over hold item -1 and score 0; so a history that says nothing gives an answer of -1 alone, and whoever asked
falls back to something else.

Column N (one past the last item) takes the padding: tables have a last row and column of zeros, so that a place
without an item adds exactly nothing, and an answer does not depend on padding, bit for bit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

IR_VERSION = 10
OPSET = 18
INPUTS = {"history": TensorProto.INT32, "weights": TensorProto.FLOAT}
OUTPUTS = {"item_ids": TensorProto.INT32, "scores": TensorProto.FLOAT}


@dataclass(frozen=True)
class Scoring:
    """The nodes that turn a history into scores.

    Args:
        nodes: read `slots` (int32[B, L], item indices, N where there is none), `strengths` (float32[B, L], 0 where
            there is no item) and, when needed, `blank` (float32[B, N + 1] of zeros); write `raw`, float32[B, N + 1]
            with 0 in the last column.
        tables: constants that the nodes read.
    """

    nodes: Sequence[onnx.NodeProto]
    tables: Mapping[str, NDArray[Any]]


def assemble(scoring: Scoring, *, n_items: int, k: int) -> onnx.ModelProto:
    """The whole graph, without metadata."""
    constants = {**_constants(n_items, k), **scoring.tables}
    graph = helper.make_graph(
        nodes=[*_before(), *scoring.nodes, *_after()],
        name="retrace",
        inputs=[helper.make_tensor_value_info(n, t, ["B", "L"]) for n, t in INPUTS.items()],
        outputs=[helper.make_tensor_value_info(n, t, ["B", k]) for n, t in OUTPUTS.items()],
        initializer=[numpy_helper.from_array(np.ascontiguousarray(v), n) for n, v in constants.items()],
    )
    model = helper.make_model(graph, producer_name="retrace", opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    return model


def _constants(n_items: int, k: int) -> dict[str, NDArray[Any]]:
    return {
        "first": np.array(0, np.int32),
        "n_items": np.array(n_items, np.int32),
        "width": np.array([n_items + 1], np.int64),
        "k": np.array([k], np.int64),
        "none": np.array(-1, np.int32),
        "nothing": np.array(0, np.float32),
        "never": np.array(-np.inf, np.float32),
    }


def _before() -> list[onnx.NodeProto]:
    node = helper.make_node
    return [
        node("GreaterOrEqual", ["history", "first"], ["not_below"]),
        node("Less", ["history", "n_items"], ["not_above"]),
        node("And", ["not_below", "not_above"], ["known"]),
        node("Where", ["known", "history", "n_items"], ["slots"]),
        node("Where", ["known", "weights", "nothing"], ["strengths"]),
        node("Shape", ["history"], ["rows"], start=0, end=1),
        node("Concat", ["rows", "width"], ["table_shape"], axis=0),
        node("ConstantOfShape", ["table_shape"], ["blank"]),
    ]


def _after() -> list[onnx.NodeProto]:
    node = helper.make_node
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    return [
        node("Shape", ["history"], ["history_shape"]),
        node("ConstantOfShape", ["history_shape"], ["marks"], value=one),
        node("ScatterElements", ["blank", "slots", "marks"], ["marked"], axis=1),
        node("Cast", ["marked"], ["seen"], to=TensorProto.BOOL),
        node("Equal", ["raw", "nothing"], ["silent"]),
        node("Or", ["seen", "silent"], ["hidden"]),
        node("Where", ["hidden", "never", "raw"], ["visible"]),
        node("TopK", ["visible", "k"], ["best", "places"], axis=1, largest=1, sorted=1),
        node("Cast", ["places"], ["indices"], to=TensorProto.INT32),
        node("IsInf", ["best"], ["empty"]),
        node("Where", ["empty", "none", "indices"], ["item_ids"]),
        node("Where", ["empty", "nothing", "best"], ["scores"]),
    ]
