"""Triton's model repository: a folder per deployed version, that every server reads.

Each version of a model is a Triton model of its own (`ease-v3`), so that the new one is loaded beside the old one and
each is unloaded by itself.
"""

import re
import shutil
import tempfile
from pathlib import Path
from typing import Literal, TypeAlias

from inference.artifact import load
from schemas.errors import Incompatible, Invalid

Backend: TypeAlias = Literal["python", "onnxruntime"]

MAX_BATCH = 256
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
MODEL_FILE = Path(__file__).with_name("model.py")

CONFIG = """\
name: "{name}"
backend: "{backend}"
max_batch_size: {max_batch}
input [
  {{ name: "history" data_type: TYPE_INT32 dims: [ -1 ] }},
  {{ name: "weights" data_type: TYPE_FP32 dims: [ -1 ] }}
]
output [
  {{ name: "item_ids" data_type: TYPE_INT32 dims: [ {k} ] }},
  {{ name: "scores" data_type: TYPE_FP32 dims: [ {k} ] }}
]
instance_group [ {{ count: {instances} kind: {kind} }} ]
"""


def triton_name(model: str, version: int) -> str:
    """What Triton calls one version of a model."""
    return f"{model}-v{version}"


def publish(root: Path, name: str, artifact: bytes, *, backend: Backend = "python", instances: int = 1) -> Path:
    """Put an artifact where Triton can load it as `name`; again is without effect.

    Args:
        root: the model repository.
        name: see `triton_name`.
        artifact: the ONNX file.
        backend: python runs it through `model.py` on the CPU; onnxruntime needs servers that have that backend and
            runs on the GPU, where scores may differ from the CPU's in their last bits.
        instances: how many requests the model works on at once, each in a process (python) or stream of its own.

    Raises:
        Incompatible: another artifact already stands under this name, or this one is no ONNX file.
        Invalid: the name could leave the repository's folder.
    """
    folder = _folder(root, name)
    if _published(folder, artifact):
        return folder
    root.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=root))
    try:
        _fill(aside, name, artifact, backend, instances)
        _settle(aside, folder, artifact)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def withdraw(root: Path, name: str) -> None:
    """Take a version out of the repository; unload it first. Again is without effect."""
    folder = _folder(root, name)
    if not folder.exists():
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=root))
    try:
        folder.rename(aside / name)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def config(name: str, k: int, backend: Backend, instances: int) -> str:
    """The text of `config.pbtxt`."""
    return CONFIG.format(
        name=name,
        backend=backend,
        max_batch=MAX_BATCH,
        k=k,
        instances=instances,
        kind="KIND_CPU" if backend == "python" else "KIND_GPU",
    )


def _folder(root: Path, name: str) -> Path:
    if not NAME.fullmatch(name):
        raise Invalid(f"{name!r} is no model name: use letters, digits, dash, dot and underscore", code="model_name")
    return root / name


def _fill(folder: Path, name: str, artifact: bytes, backend: Backend, instances: int) -> None:
    k = load(artifact).graph.output[0].type.tensor_type.shape.dim[1].dim_value
    version = folder / "1"
    version.mkdir()
    (version / "model.onnx").write_bytes(artifact)
    if backend == "python":
        shutil.copyfile(MODEL_FILE, version / "model.py")
    (folder / "config.pbtxt").write_text(config(name, k, backend, instances))
    folder.chmod(0o755)


def _settle(aside: Path, folder: Path, artifact: bytes) -> None:
    """Rename into place: Triton sees all of the folder or nothing. Somebody may have been faster."""
    try:
        aside.rename(folder)
    except OSError:
        if not _published(folder, artifact):
            raise


def _published(folder: Path, artifact: bytes) -> bool:
    file = folder / "1" / "model.onnx"
    if not file.exists():
        return False
    if file.read_bytes() != artifact:
        raise Incompatible(
            f"{folder.name} is already published with another artifact: deploy it under a new version",
            code="version_taken",
        )
    return True
