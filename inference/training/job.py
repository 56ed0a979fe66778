"""What a trainer and the process that fits say to each other: a job goes in as a line of JSON, and lines come out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from schemas.models import OffsetRange


@dataclass(frozen=True)
class Job:
    """What is to be fitted on what."""

    ranges: tuple[OffsetRange, ...]
    algorithm: str
    params: Mapping[str, str]
    k: int


@dataclass(frozen=True)
class Use:
    """What a process has used, and what it has read of the log.

    Attributes:
        cpu_s: processor time of the process and its threads.
        gpu: name of the GPU that it used.
    """

    cpu_s: float = 0.0
    peak_memory_bytes: int = 0
    bytes_read: int = 0
    gpu: str | None = None
    gpu_peak_memory_bytes: int | None = None


class Said(msgspec.Struct, frozen=True, tag_field="said"):
    """A line that the process writes."""


class Step(Said, frozen=True, tag="step"):
    """It has come so far."""

    step: str
    done: int
    total: int
    percent: float
    bytes_read: int = 0


class Dataset(Said, frozen=True, tag="dataset"):
    """Its dataset is there."""

    sha256: str
    rows: int
    duplicates: int
    silent_kinds: tuple[str, ...]
    silent: int
    withdrawn: int
    erased: int
    erasures: tuple[OffsetRange, ...]
    manifest: str


class Evaluation(Said, frozen=True, tag="evaluation"):
    """It has measured its model."""

    metrics: dict[str, float]


class Done(Said, frozen=True, tag="done"):
    """It has stored its artifact; the last line."""

    artifact_sha256: str
    artifact_bytes: int
    use: Use = field(default_factory=Use)


class Fault(Said, frozen=True, tag="fault"):
    """It cannot finish; the last line.

    Attributes:
        retriable: whether trying again may help.
    """

    code: str
    detail: str
    retriable: bool
    use: Use = field(default_factory=Use)


Line: TypeAlias = Step | Dataset | Evaluation | Done | Fault

_decoder = msgspec.json.Decoder(Line)
_encoder = msgspec.json.Encoder()


def line_of(said: Line | Job) -> bytes:
    """As it goes through a pipe."""
    return _encoder.encode(said) + b"\n"


def line(text: bytes) -> Line:
    """What the process said.

    Raises:
        ValueError: it is no line of ours.
    """
    said: Line = _decoder.decode(text)
    return said


def job(text: bytes) -> Job:
    """The job.

    Raises:
        ValueError: it is none.
    """
    return msgspec.json.decode(text, type=Job)
