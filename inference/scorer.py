"""Run an artifact in this process: for explanations, evaluation and golden requests.

One thread and the nodes one after another, as in `inference/triton/model.py`, so that both give the same bits.
"""

from collections.abc import Sequence
from functools import cached_property

import onnx
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from inference.artifact import Metadata, load
from inference.interactions import Float32Array, Int32Array
from schemas.errors import Incompatible

RAW = "raw"
"""Name, in the graph of every model of ours, of the scores of all items (`inference.graph`)."""

FAULTS = (
    ort_state.Fail,
    ort_state.InvalidArgument,
    ort_state.InvalidGraph,
    ort_state.InvalidProtobuf,
    ort_state.NotImplemented,
    ort_state.RuntimeException,
)


class OnnxScorer:
    """One artifact, ready to score.

    Raises:
        Incompatible: the bytes are no model that runs here, or their metadata cannot be read.
    """

    def __init__(self, artifact: bytes) -> None:
        self._artifact = artifact
        self._session = open_session(artifact)
        self.metadata = Metadata.parse(self._session.get_modelmeta().custom_metadata_map)

    @property
    def items(self) -> tuple[str, ...]:
        """The vocabulary, by item index."""
        return self.metadata.items

    def run(self, history: Int32Array, weights: Float32Array) -> tuple[Int32Array, Float32Array]:
        """The bare signature: a batch of encoded histories in, `item_ids` and `scores` out."""
        item_ids, scores = self._session.run(["item_ids", "scores"], {"history": history, "weights": weights})
        return item_ids, scores

    def raw(self, history: Int32Array, weights: Float32Array) -> Float32Array | None:
        """The score of every item, before seen ones are masked and the best are chosen, shape (B, items).

        None when the artifact's graph does not have them under the name that all our models give them.
        """
        if self._before_choice is None:
            return None
        (scores,) = self._before_choice.run([RAW], {"history": history, "weights": weights})
        found: Float32Array = scores[:, : len(self.items)]
        return found

    @cached_property
    def _before_choice(self) -> ort.InferenceSession | None:
        """The same graph up to the scores."""
        model = load(self._artifact)
        if not any(RAW in node.output for node in model.graph.node):
            return None
        del model.graph.output[:]
        model.graph.output.append(onnx.helper.make_tensor_value_info(RAW, onnx.TensorProto.FLOAT, ["B", "N"]))
        return open_session(model.SerializeToString())

    def score(self, history: Sequence[str]) -> list[tuple[str, float]]:
        """The answer for one user, best first; shorter than k where the model has no more to say.

        Args:
            history: item ids, oldest first.
        """
        item_ids, scores = self.run(*self.metadata.encode(history))
        return self.metadata.decode(item_ids[0], scores[0])


def open_session(artifact: bytes) -> ort.InferenceSession:
    """An onnxruntime session whose result depends on nothing but its input.

    Raises:
        Incompatible: onnxruntime refuses the bytes.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(artifact, options, providers=["CPUExecutionProvider"])
    except FAULTS as fault:
        raise Incompatible(f"artifact does not run on onnxruntime: {fault}", code="artifact_unreadable") from fault
