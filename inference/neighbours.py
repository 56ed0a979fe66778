"""The neighbours of each item, and the part of a graph that adds them up: shared by the models that count pairs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from onnx import NodeProto, helper

from inference.interactions import Float32Array, Int32Array


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The neighbours of each item, best first; the last row is that of no item.

    Args:
        items: shape (items + 1, m); the index one past the last item where there are fewer than m.
        scores: shape (items + 1, m); 0 where there is none.
    """

    items: Int32Array
    scores: Float32Array


def strongest(pairs: "sp.coo_array[Any, Any]", neighbours: int) -> Neighbours:
    """The largest values of each row; equal ones by the smaller column."""
    n = pairs.shape[0]
    value = pairs.data.astype(np.float32)
    order = np.lexsort((pairs.col, -value, pairs.row))
    order = order[value[order] != 0]
    row = pairs.row[order]
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    order, row, rank = order[rank < neighbours], row[rank < neighbours], rank[rank < neighbours]
    m = int(rank.max(initial=0)) + 1
    items = np.full((n + 1, m), n, np.int32)
    scores = np.zeros((n + 1, m), np.float32)
    items[row, rank] = pairs.col[order]
    scores[row, rank] = value[order]
    return Neighbours(items, scores)


def without_diagonal(matrix: "sp.csr_array[Any, Any]") -> "sp.csr_array[Any, Any]":
    """No item is its own neighbour."""
    pairs = matrix.tocoo()
    kept = pairs.row != pairs.col
    return sp.csr_array((pairs.data[kept], (pairs.row[kept], pairs.col[kept])), shape=matrix.shape)


def added_up(result: str) -> list[NodeProto]:
    """The neighbours of everything in the history, each times its place's strength, oldest first."""
    node = helper.make_node
    return [
        node("Gather", ["neighbour_items", "slots"], ["near"]),
        node("Gather", ["neighbour_scores", "slots"], ["near_scores"]),
        node("Unsqueeze", ["strengths", "last_axis"], ["near_strengths"]),
        node("Mul", ["near_scores", "near_strengths"], ["parts"]),
        node("Reshape", ["near", "flat"], ["targets"]),
        node("Reshape", ["parts", "flat"], ["addends"]),
        node("ScatterElements", ["blank", "targets", "addends"], [result], axis=1, reduction="add"),
    ]


def tables(weights: Neighbours) -> dict[str, NDArray[Any]]:
    """What these nodes read."""
    return {
        "neighbour_items": weights.items,
        "neighbour_scores": weights.scores,
        "last_axis": np.array([2], np.int64),
        "flat": np.array([0, -1], np.int64),
    }
