"""What an artifact says about itself: the metadata inside its ONNX file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from inference.history import encode
from inference.interactions import Float32Array, Int32Array
from schemas.errors import Incompatible

SIGNATURE_VERSION = 1


@dataclass(frozen=True)
class Golden:
    """A request with the answer it had at export.

    Args:
        history: item ids, oldest first.
        item_ids: the answer, item indices.
        scores: the answer, exact float32 values.
    """

    history: tuple[str, ...]
    item_ids: tuple[int, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Metadata:
    """All that a caller needs beside the graph, to ask it and to read its answer.

    Args:
        model: name of the model's kind.
        model_version: of the code that made it.
        params: what it was fitted with.
        items: the vocabulary, by index.
        decay: recency of the history, see `inference.history`.
        golden: requests with their answers; empty only while the artifact is made.
    """

    model: str
    model_version: int
    params: Mapping[str, Any]
    items: tuple[str, ...]
    decay: float
    golden: tuple[Golden, ...] = ()

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Item id to index."""
        return {item: i for i, item in enumerate(self.items)}

    def encode(self, history: Sequence[str]) -> tuple[Int32Array, Float32Array]:
        """The model's two inputs for one user's history, oldest first."""
        return encode(history, self.index, self.decay)

    def decode(self, item_ids: NDArray[Any], scores: NDArray[Any]) -> list[tuple[str, float]]:
        """One row of an answer as item ids with scores, best first, without the empty places."""
        return [(self.items[i], float(s)) for i, s in zip(item_ids, scores, strict=True) if i >= 0]

    def props(self) -> dict[str, str]:
        """As the text pairs that ONNX keeps."""
        return {
            "signature_version": str(SIGNATURE_VERSION),
            "model": self.model,
            "model_version": str(self.model_version),
            "params": json.dumps(dict(self.params), sort_keys=True),
            "decay": repr(self.decay),
            "items": json.dumps(self.items, ensure_ascii=False),
            "golden": json.dumps([asdict(g) for g in self.golden], ensure_ascii=False),
        }

    @classmethod
    def parse(cls, props: Mapping[str, str]) -> "Metadata":
        """The inverse of `props`.

        Raises:
            Incompatible: a pair is missing or unreadable, or the signature is of another version.
        """
        if (found := props.get("signature_version")) != str(SIGNATURE_VERSION):
            raise Incompatible(
                f"artifact has signature version {found}, this code reads {SIGNATURE_VERSION}: export it again",
                code="artifact_signature",
            )
        try:
            return cls(
                model=props["model"],
                model_version=int(props["model_version"]),
                params=json.loads(props["params"]),
                items=tuple(json.loads(props["items"])),
                decay=float(props["decay"]),
                golden=tuple(_golden(g) for g in json.loads(props["golden"])),
            )
        except (KeyError, TypeError, ValueError) as fault:
            raise Incompatible(f"artifact metadata is unreadable: {fault!r}", code="artifact_metadata") from fault


def load(artifact: bytes) -> onnx.ModelProto:
    """Parse an artifact.

    Raises:
        Incompatible: it is no ONNX file.
    """
    try:
        return onnx.load_from_string(artifact)
    except DecodeError as fault:
        raise Incompatible("artifact is not an ONNX file", code="artifact_unreadable") from fault


def read_metadata(artifact: bytes) -> Metadata:
    """The metadata of an artifact, without making it runnable.

    Raises:
        Incompatible: it is no ONNX file, or not one of ours.
    """
    return Metadata.parse({pair.key: pair.value for pair in load(artifact).metadata_props})


def _golden(value: Mapping[str, Any]) -> Golden:
    return Golden(tuple(value["history"]), tuple(value["item_ids"]), tuple(value["scores"]))
