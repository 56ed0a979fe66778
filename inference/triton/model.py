"""Runs inside Triton's Python backend, in Triton's own environment: imports nothing of ours, and numpy may be 1.x.

The session is set up as in `inference/scorer.py`, and each request runs on its own, so that an answer is the same
bits there and here, whoever else asks at that moment.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime as ort
import triton_python_backend_utils as pb_utils

INPUTS = ("history", "weights")
OUTPUTS = ("item_ids", "scores")


class TritonPythonModel:
    """What Triton calls: one artifact, `model.onnx` beside this file."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load the artifact; Triton gives the model's folder and version."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        file = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self._session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer requests one by one; one that fails does not fail the others."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        try:
            given = {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in INPUTS}
            answer = self._session.run(OUTPUTS, given)
        except Exception as fault:  # Triton would take any other way out as a broken model
            return pb_utils.InferenceResponse(output_tensors=[], error=pb_utils.TritonError(str(fault)))
        tensors = [pb_utils.Tensor(name, value) for name, value in zip(OUTPUTS, answer, strict=True)]
        return pb_utils.InferenceResponse(output_tensors=tensors)
