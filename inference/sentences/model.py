"""Runs inside Triton's Python backend, in Triton's own environment; `wordpiece.py` and `vocab.txt` lie beside it.

Each text is run by itself and without padding, so that its vector is the same bits whoever else asks at that moment.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils
from wordpiece import WordPiece

LONGEST = 128
"""Tokens; the model was trained on texts of this length, and a longer one takes longer than a query may wait."""


class TritonPythonModel:
    """What Triton calls: a text, as UTF-8, gives a vector of length 1."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load the artifact; Triton gives the model's folder and version."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        folder = Path(args["model_repository"]) / args["model_version"]
        self._session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
        self._tokens = WordPiece.read(folder / "vocab.txt", LONGEST)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer requests one by one; one that fails does not fail the others."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        try:
            texts = pb_utils.get_input_tensor_by_name(request, "text").as_numpy()
            vectors = np.stack([self._vector(text.decode("utf-8", "replace")) for text in texts.reshape(-1)])
        except Exception as fault:  # Triton would take any other way out as a broken model
            return pb_utils.InferenceResponse(output_tensors=[], error=pb_utils.TritonError(str(fault)))
        return pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor("vector", vectors)])

    def _vector(self, text: str) -> Any:
        """The mean of the token vectors, at length 1.

        Source: Reimers and Gurevych, Sentence-BERT (EMNLP 2019), section 3.
        """
        ids = np.array([self._tokens.ids(text)], dtype=np.int64)
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        mean = self._session.run(["last_hidden_state"], given)[0][0].mean(axis=0)
        return (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)
