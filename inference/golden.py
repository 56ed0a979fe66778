"""Golden requests: fixed histories whose answers are kept in the artifact, to be asked again before it serves.

They tell a server that computes something else (another library version, another device, a damaged file that still
loads) from one that can be trusted to repeat what evaluation saw.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import helper

from inference.artifact import Golden, Metadata, load
from inference.graph import INPUTS, OUTPUTS
from inference.interactions import Float32Array, Int32Array
from inference.scorer import OnnxScorer
from schemas.errors import Incompatible

UNKNOWN_ITEM = "\x00not-an-item"


def histories(items: Sequence[str]) -> list[tuple[str, ...]]:
    """The fixed questions for a vocabulary: nobody known, one item, the ends, an even spread, an unknown item."""
    step = max(1, len(items) // 24)
    return [
        (),
        tuple(items[:1]),
        tuple(items[-2:]),
        tuple(items[::step][:24]),
        (UNKNOWN_ITEM, *items[step // 2 :: step][:7]),
    ]


def with_golden(model: onnx.ModelProto, metadata: Metadata) -> bytes:
    """The final bytes of an artifact: its graph, its metadata, and golden requests answered by the graph itself."""
    scorer = OnnxScorer(_serialise(model, metadata))
    golden = tuple(_ask(scorer, history) for history in histories(metadata.items))
    return _serialise(model, replace(metadata, golden=golden))


def golden_faults(golden: Golden, item_ids: NDArray[Any], scores: NDArray[Any]) -> list[str]:
    """How an answer (one row) differs from the one at export; exact, nothing when it is the same."""
    if tuple(item_ids.tolist()) != golden.item_ids:
        return [f"golden request of {len(golden.history)} items: other items than at export"]
    if tuple(scores.tolist()) != golden.scores:
        return [f"golden request of {len(golden.history)} items: other scores than at export"]
    return []


def validate(artifact: bytes) -> list[str]:
    """Everything wrong with an artifact that somebody wants to deploy; nothing when it may serve.

    Checked are the signature (names, types, ranks), that it is self-contained, the metadata, and the golden requests.
    """
    try:
        faults = _signature_faults(load(artifact))
        scorer = OnnxScorer(artifact)
    except Incompatible as fault:
        return [fault.detail]
    return faults or _answer_faults(scorer)


def _answer_faults(scorer: OnnxScorer) -> list[str]:
    golden = scorer.metadata.golden
    if not golden:
        return ["no golden requests: export it again"]
    return [fault for g in golden for fault in golden_faults(g, *_first_row(scorer, g.history))]


def _signature_faults(model: onnx.ModelProto) -> list[str]:
    faults = _tensor_faults("input", model.graph.input, INPUTS) + _tensor_faults("output", model.graph.output, OUTPUTS)
    if any(t.data_location == onnx.TensorProto.EXTERNAL for t in model.graph.initializer):
        faults.append("weights outside the file: an artifact must be one file")
    return faults


def _tensor_faults(what: str, found: Sequence[onnx.ValueInfoProto], wanted: Mapping[str, int]) -> list[str]:
    shapes = {v.name: (v.type.tensor_type.elem_type, len(v.type.tensor_type.shape.dim)) for v in found}
    expected = {name: (kind, 2) for name, kind in wanted.items()}
    return [] if shapes == expected else [f"{what}s are (type, rank) {shapes}, the signature has {expected}"]


def _ask(scorer: OnnxScorer, history: tuple[str, ...]) -> Golden:
    item_ids, scores = _first_row(scorer, history)
    return Golden(history, tuple(item_ids.tolist()), tuple(scores.tolist()))


def _first_row(scorer: OnnxScorer, history: Sequence[str]) -> tuple[Int32Array, Float32Array]:
    item_ids, scores = scorer.run(*scorer.metadata.encode(history))
    return item_ids[0], scores[0]


def _serialise(model: onnx.ModelProto, metadata: Metadata) -> bytes:
    complete = onnx.ModelProto()
    complete.CopyFrom(model)
    complete.model_version = metadata.model_version
    helper.set_model_props(complete, metadata.props())
    serialised: bytes = complete.SerializeToString(deterministic=True)
    return serialised
