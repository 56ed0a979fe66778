"""Generated from schemas/avro/models; change those files and run `python -m schemas.generate`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetRange:
    """A part of one partition: first <= offset < end.

    Attributes:
        topic: Topic, without prefix.
        partition: Partition.
        first: First offset.
        end: Offset after the last.
    """

    AVRO: ClassVar[str] = "retrace.models.OffsetRange"

    topic: str
    partition: int
    first: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteTraining:
    """The trainer has stored the artifact.

    Attributes:
        model: Name under which versions are registered and served.
        run_id: Training run.
        dataset_sha256: Hash over the dataset's content in log order.
        dataset_rows: Interactions in the dataset.
        duplicates: Records dropped because their id had been seen.
        artifact_sha256: Hash of the ONNX file.
        artifact_bytes: Size of the ONNX file.
        metrics: Evaluation on the held-out end of the dataset.
        duration_s: How long the run took.
    """

    AVRO: ClassVar[str] = "retrace.models.CompleteTraining"

    model: str
    run_id: str
    dataset_sha256: str
    dataset_rows: int
    duplicates: int
    artifact_sha256: str
    artifact_bytes: int
    metrics: Mapping[str, float]
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FailTraining:
    """The trainer could not finish the run.

    Attributes:
        model: Name under which versions are registered and served.
        run_id: Training run.
        reason: What went wrong and what to do.
    """

    AVRO: ClassVar[str] = "retrace.models.FailTraining"

    model: str
    run_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRegistered:
    """An artifact became a version of a model.

    Attributes:
        model: Name under which versions are registered and served.
        version: 1, 2, 3 ... without gaps.
        run_id: Training run.
        algorithm: Which declaration fitted it.
        artifact_sha256: Hash of the ONNX file.
        dataset_sha256: Hash of what it was trained on.
        metrics: Evaluation on the held-out end of the dataset.
    """

    AVRO: ClassVar[str] = "retrace.models.ModelRegistered"

    model: str
    version: int
    run_id: str
    algorithm: str
    artifact_sha256: str
    dataset_sha256: str
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRetired:
    """A version may not be deployed again.

    Attributes:
        model: Name under which versions are registered and served.
        version: Which version.
        reason: Why.
    """

    AVRO: ClassVar[str] = "retrace.models.ModelRetired"

    model: str
    version: int
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTraining:
    """Ask for a training run.

    Attributes:
        model: Name under which versions are registered and served.
        run_id: Training run.
        algorithm: Which model to fit: the name of a declaration in inference/models.
        params: Hyper-parameters, as text; what is absent takes its default.
        k: Items per answer, fixed in the artifact.
        ranges: The exact part of the log to train on; empty means all there is when the run starts.
    """

    AVRO: ClassVar[str] = "retrace.models.RequestTraining"

    model: str
    run_id: str
    algorithm: str
    params: Mapping[str, str] = field(default_factory=dict)
    k: int = 100
    ranges: tuple[OffsetRange, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RetireModel:
    """Forbid a version from being deployed again.

    Attributes:
        model: Name under which versions are registered and served.
        version: Which version.
        reason: Why.
    """

    AVRO: ClassVar[str] = "retrace.models.RetireModel"

    model: str
    version: int
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartTraining:
    """The trainer has taken the run and fixed its data.

    Attributes:
        model: Name under which versions are registered and served.
        run_id: Training run.
        ranges: The exact part of the log the run reads.
    """

    AVRO: ClassVar[str] = "retrace.models.StartTraining"

    model: str
    run_id: str
    ranges: tuple[OffsetRange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCompleted:
    """A training run produced an artifact.

    Attributes:
        model: Name under which versions are registered and served.
        run_id: Training run.
        dataset_sha256: Hash over the dataset's content in log order.
        dataset_rows: Interactions in the dataset.
        duplicates: Records dropped because their id had been seen.
        artifact_sha256: Hash of the ONNX file.
        artifact_bytes: Size of the ONNX file.
        metrics: Evaluation on the held-out end of the dataset.
        duration_s: How long the run took.
    """

    AVRO: ClassVar[str] = "retrace.models.TrainingCompleted"

    model: str
    run_id: str
    dataset_sha256: str
    dataset_rows: int
    duplicates: int
    artifact_sha256: str
    artifact_bytes: int
    metrics: Mapping[str, float]
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFailed:
    """A training run ended without an artifact.

    Attributes:
        model: Name under which versions are registered and served.
        run_id: Training run.
        reason: What went wrong and what to do.
    """

    AVRO: ClassVar[str] = "retrace.models.TrainingFailed"

    model: str
    run_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRequested:
    """A training run was asked for.

    Attributes:
        model: Name under which versions are registered and served.
        run_id: Training run.
        algorithm: Which model to fit: the name of a declaration in inference/models.
        params: Hyper-parameters, as text; what is absent takes its default.
        k: Items per answer, fixed in the artifact.
        ranges: The part of the log asked for; empty means all there is when the run starts.
    """

    AVRO: ClassVar[str] = "retrace.models.TrainingRequested"

    model: str
    run_id: str
    algorithm: str
    params: Mapping[str, str] = field(default_factory=dict)
    k: int = 100
    ranges: tuple[OffsetRange, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStarted:
    """A training run began on a fixed part of the log.

    Attributes:
        model: Name under which versions are registered and served.
        run_id: Training run.
        ranges: The exact part of the log the run reads.
    """

    AVRO: ClassVar[str] = "retrace.models.TrainingStarted"

    model: str
    run_id: str
    ranges: tuple[OffsetRange, ...]


ModelsEvent: TypeAlias = (
    ModelRegistered | ModelRetired | TrainingCompleted | TrainingFailed | TrainingRequested | TrainingStarted
)

ModelsCommand: TypeAlias = CompleteTraining | FailTraining | RequestTraining | RetireModel | StartTraining
