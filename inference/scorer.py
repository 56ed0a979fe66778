"""Run an artifact in this process: for explanations, evaluation and golden requests.

One thread and the nodes one after another, as in `inference/triton/model.py`, so that both give the same bits.
"""

from collections.abc import Sequence

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from inference.artifact import Metadata
from inference.interactions import Float32Array, Int32Array
from schemas.errors import Incompatible

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
