"""Artifacts: one file says everything about itself, and a damaged one is caught before it serves."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from inference.artifact import read_metadata
from inference.golden import validate
from inference.model import Model
from inference.scorer import OnnxScorer
from schemas.errors import Incompatible

from .reference import MODELS, toy

each_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: str(model.name))
TABLES = {
    "ease": "item_weights",
    "item-to-item": "neighbour_scores",
    "popularity": "popularity",
    "ials": "item_factors",
    "recent": "popular",
    "co-occurrence": "neighbour_scores",
    "sasrec": "item_columns",
}


def artifact(model: Model[Any, Any] = MODELS[0]) -> bytes:
    return model.train(toy(), model.params, 5)


def changed(data: bytes, change: Any) -> bytes:
    proto = onnx.load_from_string(data)
    change(proto)
    return bytes(proto.SerializeToString())


def scale(table: str) -> Any:
    def change(proto: onnx.ModelProto) -> None:
        tensor = next(t for t in proto.graph.initializer if t.name == table)
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.0001), table))

    return change


@each_model
def test_a_fresh_artifact_is_valid(model: Model[Any, Any]) -> None:
    """What training makes, deployment takes."""
    assert validate(artifact(model)) == []


@each_model
def test_metadata_comes_back_whole(model: Model[Any, Any]) -> None:
    """The file alone is enough to serve and to explain: vocabulary, parameters, recency, golden requests."""
    metadata = read_metadata(artifact(model))

    assert metadata == OnnxScorer(artifact(model)).metadata
    assert (metadata.model, metadata.model_version) == (model.name, model.version)
    assert metadata.items == toy().items
    assert metadata.params == model.params.__dict__
    assert len(metadata.golden) == 5


@each_model
def test_golden_requests_catch_changed_weights(model: Model[Any, Any]) -> None:
    """A server that computes something a little different is noticed before a user is."""
    faults = validate(changed(artifact(model), scale(TABLES[model.name])))

    assert faults
    assert all("than at export" in fault for fault in faults)


def rename_input(proto: onnx.ModelProto) -> None:
    for node in proto.graph.node:
        node.input[:] = ["past" if name == "history" else name for name in node.input]
    proto.graph.input[0].name = "past"


def drop_metadata(proto: onnx.ModelProto) -> None:
    del proto.metadata_props[:]


def forget_golden(proto: onnx.ModelProto) -> None:
    next(p for p in proto.metadata_props if p.key == "golden").value = "[]"


def spoil_items(proto: onnx.ModelProto) -> None:
    next(p for p in proto.metadata_props if p.key == "items").value = "not json"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (rename_input, "inputs are"),
        (drop_metadata, "signature version None"),
        (forget_golden, "no golden requests"),
        (spoil_items, "metadata is unreadable"),
    ],
)
def test_what_is_wrong_is_said(change: Any, said: str) -> None:
    """The saga keeps the faults as evidence; they must name the cause."""
    assert any(said in fault for fault in validate(changed(artifact(), change)))


@pytest.mark.parametrize("junk", [b"", b"not a model", artifact()[:500]])
def test_junk_is_refused_not_crashed_on(junk: bytes) -> None:
    """A truncated download is an answer, not an exception in the worker."""
    assert validate(junk)
    with pytest.raises(Incompatible):
        OnnxScorer(junk)
