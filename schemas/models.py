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
class CancelTraining:
    """End a training run that has not ended; it registers no version.

    Attributes:
        model: Name under which versions are registered and served.
        run_id: Training run.
        reason: Why.
    """

    AVRO: ClassVar[str] = "retrace.models.CancelTraining"

    model: str
    run_id: str
    reason: str = ""


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
        attempt: Which attempt of the run: 1, and one more for each retry.
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
    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FailTraining:
    """The trainer could not finish the run.

    Attributes:
        model: Name under which versions are registered and served.
        run_id: Training run.
        reason: What went wrong and what to do.
        attempt: Which attempt of the run: 1, and one more for each retry.
        code: What kind of fault, for programs.
    """

    AVRO: ClassVar[str] = "retrace.models.FailTraining"

    model: str
    run_id: str
    reason: str = ""
    attempt: int = 1
    code: str = ""


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
class QueueTraining:
    """The trainers have no place for the run yet.

    Attributes:
        model: Name under which versions are registered and served.
        run_id: Training run.
        attempt: Which attempt of the run: 1, and one more for each retry.
        ahead: Runs that are to begin before it.
        reason: Why.
    """

    AVRO: ClassVar[str] = "retrace.models.QueueTraining"

    model: str
    run_id: str
    attempt: int = 1
    ahead: int
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportDataset:
    """The trainer has built the run's dataset.

    Attributes:
        model: Name under which versions are registered and served.
        run_id: Training run.
        attempt: Which attempt of the run: 1, and one more for each retry.
        dataset_sha256: Hash over the dataset's content in log order.
        dataset_rows: Interactions in the dataset.
        duplicates: Records dropped because their id had been seen.
        silent_kinds: Kinds of interaction left out.
        silent: Interactions left out for their kind.
        withdrawn: Interactions left out because their users had withdrawn consent to training.
        erased: Interactions left out because their users had been erased.
        erasures: The part of the profiles that was looked through for erasures.
        manifest: The whole manifest, as JSON.
    """

    AVRO: ClassVar[str] = "retrace.models.ReportDataset"

    model: str
    run_id: str
    attempt: int = 1
    dataset_sha256: str
    dataset_rows: int
    duplicates: int
    silent_kinds: tuple[str, ...] = ()
    silent: int = 0
    withdrawn: int = 0
    erased: int = 0
    erasures: tuple[OffsetRange, ...] = ()
    manifest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportEvaluation:
    """The trainer has measured the run's model.

    Attributes:
        model: Name under which versions are registered and served.
        run_id: Training run.
        attempt: Which attempt of the run: 1, and one more for each retry.
        metrics: Evaluation on the held-out end of the dataset.
    """

    AVRO: ClassVar[str] = "retrace.models.ReportEvaluation"

    model: str
    run_id: str
    attempt: int = 1
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportProgress:
    """How far the trainer has come with a run.

    Attributes:
        model: Name under which versions are registered and served.
        run_id: Training run.
        attempt: Which attempt of the run: 1, and one more for each retry.
        step: What it does: reading, fitting, evaluating or storing.
        done: How much of this step is done: offsets read, or epochs.
        total: How much this step has to do; 0 when that is not known.
        percent: How much of the attempt is done, 0 to 100; steps count by fixed shares.
        eta_s: Seconds left at the pace so far; null before there is one.
        elapsed_s: Seconds since the attempt began here.
        worker: Process that carries it out: host and process id.
    """

    AVRO: ClassVar[str] = "retrace.models.ReportProgress"

    model: str
    run_id: str
    attempt: int = 1
    step: str
    done: int = 0
    total: int = 0
    percent: float = 0.0
    eta_s: float | None = None
    elapsed_s: float = 0.0
    worker: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportResources:
    """What an attempt has used, however it ended.

    Attributes:
        model: Name under which versions are registered and served.
        run_id: Training run.
        attempt: Which attempt of the run: 1, and one more for each retry.
        worker: Process that carries it out: host and process id.
        cpu_s: Processor time, seconds.
        wall_s: Time by the clock, seconds.
        peak_memory_bytes: Most memory that was resident at once.
        bytes_read: Bytes of records read from the log.
        gpu: Name of the GPU that was used; null for none.
        gpu_peak_memory_bytes: Most memory of the GPU that was allocated at once.
    """

    AVRO: ClassVar[str] = "retrace.models.ReportResources"

    model: str
    run_id: str
    attempt: int = 1
    worker: str = ""
    cpu_s: float = 0.0
    wall_s: float = 0.0
    peak_memory_bytes: int = 0
    bytes_read: int = 0
    gpu: str | None = None
    gpu_peak_memory_bytes: int | None = None


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
class RetryTraining:
    """Try a failed or cancelled run again, on the part of the log that it had fixed.

    Attributes:
        model: Name under which versions are registered and served.
        run_id: Training run.
        reason: Why.
    """

    AVRO: ClassVar[str] = "retrace.models.RetryTraining"

    model: str
    run_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartTraining:
    """The trainer has taken the run and fixed its data.

    Attributes:
        model: Name under which versions are registered and served.
        run_id: Training run.
        ranges: The exact part of the log the run reads.
        attempt: Which attempt of the run: 1, and one more for each retry.
        slot: Which of the installation's places for runs it takes; whoever holds the place by then goes on with it.
        worker: Process that carries it out: host and process id.
        limit: Runs of this model that may be under way at once; 0 for any number.
    """

    AVRO: ClassVar[str] = "retrace.models.StartTraining"

    model: str
    run_id: str
    ranges: tuple[OffsetRange, ...]
    attempt: int = 1
    slot: int = 0
    worker: str = ""
    limit: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCancelled:
    """A training run was ended before it had a result.

    Attributes:
        model: Name under which versions are registered and served.
        run_id: Training run.
        attempt: Which attempt of the run: 1, and one more for each retry.
        reason: Why.
    """

    AVRO: ClassVar[str] = "retrace.models.TrainingCancelled"

    model: str
    run_id: str
    attempt: int = 1
    reason: str = ""


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
        attempt: Which attempt of the run: 1, and one more for each retry.
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
    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingDatasetBuilt:
    """The dataset of a training run was built.

    Attributes:
        model: Name under which versions are registered and served.
        run_id: Training run.
        attempt: Which attempt of the run: 1, and one more for each retry.
        dataset_sha256: Hash over the dataset's content in log order.
        dataset_rows: Interactions in the dataset.
        duplicates: Records dropped because their id had been seen.
        silent_kinds: Kinds of interaction left out.
        silent: Interactions left out for their kind.
        withdrawn: Interactions left out because their users had withdrawn consent to training.
        erased: Interactions left out because their users had been erased.
        erasures: The part of the profiles that was looked through for erasures.
        manifest: The whole manifest, as JSON.
    """

    AVRO: ClassVar[str] = "retrace.models.TrainingDatasetBuilt"

    model: str
    run_id: str
    attempt: int = 1
    dataset_sha256: str
    dataset_rows: int
    duplicates: int
    silent_kinds: tuple[str, ...] = ()
    silent: int = 0
    withdrawn: int = 0
    erased: int = 0
    erasures: tuple[OffsetRange, ...] = ()
    manifest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingEvaluated:
    """The model of a training run was measured.

    Attributes:
        model: Name under which versions are registered and served.
        run_id: Training run.
        attempt: Which attempt of the run: 1, and one more for each retry.
        metrics: Evaluation on the held-out end of the dataset.
    """

    AVRO: ClassVar[str] = "retrace.models.TrainingEvaluated"

    model: str
    run_id: str
    attempt: int = 1
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFailed:
    """A training run ended without an artifact.

    Attributes:
        model: Name under which versions are registered and served.
        run_id: Training run.
        reason: What went wrong and what to do.
        attempt: Which attempt of the run: 1, and one more for each retry.
        code: What kind of fault, for programs.
    """

    AVRO: ClassVar[str] = "retrace.models.TrainingFailed"

    model: str
    run_id: str
    reason: str = ""
    attempt: int = 1
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingProgressed:
    """A training run has come to another step, or some way further in one.

    Attributes:
        model: Name under which versions are registered and served.
        run_id: Training run.
        attempt: Which attempt of the run: 1, and one more for each retry.
        step: What it does: reading, fitting, evaluating or storing.
        done: How much of this step is done: offsets read, or epochs.
        total: How much this step has to do; 0 when that is not known.
        percent: How much of the attempt is done, 0 to 100; steps count by fixed shares.
        eta_s: Seconds left at the pace so far; null before there is one.
        elapsed_s: Seconds since the attempt began here.
        worker: Process that carries it out: host and process id.
    """

    AVRO: ClassVar[str] = "retrace.models.TrainingProgressed"

    model: str
    run_id: str
    attempt: int = 1
    step: str
    done: int = 0
    total: int = 0
    percent: float = 0.0
    eta_s: float | None = None
    elapsed_s: float = 0.0
    worker: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingQueued:
    """A training run waits for its turn.

    Attributes:
        model: Name under which versions are registered and served.
        run_id: Training run.
        attempt: Which attempt of the run: 1, and one more for each retry.
        ahead: Runs that were to begin before it.
        reason: Why.
    """

    AVRO: ClassVar[str] = "retrace.models.TrainingQueued"

    model: str
    run_id: str
    attempt: int = 1
    ahead: int
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
class TrainingResourcesUsed:
    """What an attempt of a training run has used, however it ended.

    Attributes:
        model: Name under which versions are registered and served.
        run_id: Training run.
        attempt: Which attempt of the run: 1, and one more for each retry.
        worker: Process that carries it out: host and process id.
        cpu_s: Processor time, seconds.
        wall_s: Time by the clock, seconds.
        peak_memory_bytes: Most memory that was resident at once.
        bytes_read: Bytes of records read from the log.
        gpu: Name of the GPU that was used; null for none.
        gpu_peak_memory_bytes: Most memory of the GPU that was allocated at once.
    """

    AVRO: ClassVar[str] = "retrace.models.TrainingResourcesUsed"

    model: str
    run_id: str
    attempt: int = 1
    worker: str = ""
    cpu_s: float = 0.0
    wall_s: float = 0.0
    peak_memory_bytes: int = 0
    bytes_read: int = 0
    gpu: str | None = None
    gpu_peak_memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRetried:
    """A failed or cancelled run was asked for again.

    Attributes:
        model: Name under which versions are registered and served.
        run_id: Training run.
        attempt: The attempt that begins: 2, 3 ...
        ranges: The part of the log that an earlier attempt has fixed; empty when none had come so far.
        reason: Why.
    """

    AVRO: ClassVar[str] = "retrace.models.TrainingRetried"

    model: str
    run_id: str
    attempt: int
    ranges: tuple[OffsetRange, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStarted:
    """A training run began on a fixed part of the log.

    Attributes:
        model: Name under which versions are registered and served.
        run_id: Training run.
        ranges: The exact part of the log the run reads.
        attempt: Which attempt of the run: 1, and one more for each retry.
        slot: Which of the installation's places for runs it takes; whoever holds the place by then goes on with it.
        worker: Process that carries it out: host and process id.
    """

    AVRO: ClassVar[str] = "retrace.models.TrainingStarted"

    model: str
    run_id: str
    ranges: tuple[OffsetRange, ...]
    attempt: int = 1
    slot: int = 0
    worker: str = ""


ModelsEvent: TypeAlias = (
    ModelRegistered
    | ModelRetired
    | TrainingCancelled
    | TrainingCompleted
    | TrainingDatasetBuilt
    | TrainingEvaluated
    | TrainingFailed
    | TrainingProgressed
    | TrainingQueued
    | TrainingRequested
    | TrainingResourcesUsed
    | TrainingRetried
    | TrainingStarted
)

ModelsCommand: TypeAlias = (
    CancelTraining
    | CompleteTraining
    | FailTraining
    | QueueTraining
    | ReportDataset
    | ReportEvaluation
    | ReportProgress
    | ReportResources
    | RequestTraining
    | RetireModel
    | RetryTraining
    | StartTraining
)
