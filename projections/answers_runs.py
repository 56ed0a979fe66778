"""What the query API answers about training runs, for its OpenAPI document."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field


class Range(BaseModel):
    """A part of one partition."""

    topic: str
    partition: int
    first: int = Field(description="first offset")
    end: int = Field(description="offset after the last")


class LeftOut(BaseModel):
    """What a dataset was made of and what was left out of it."""

    silent_kinds: list[str] = Field(description="kinds of interaction left out")
    silent: int = Field(description="interactions left out for their kind")
    withdrawn: int = Field(description="interactions left out because their users had withdrawn consent to training")
    erased: int = Field(description="interactions left out because their users had been erased")
    erasures: list[Range] = Field(description="the part of the profiles that was looked through for erasures")


class Resources(BaseModel):
    """What an attempt has used."""

    attempt: int
    cpu_s: float
    wall_s: float
    peak_memory_bytes: int
    bytes_read: int = Field(description="of records, from the log")
    gpu: str | None = Field(description="name of the GPU; null where none was used")
    gpu_peak_memory_bytes: int | None


class TrainingRun(BaseModel):
    """A training run, as its last attempt stands."""

    run_id: str
    model: str
    algorithm: str | None
    params: dict[str, str]
    k: int | None
    status: Literal["requested", "queued", "started", "completed", "failed", "cancelled"]
    ranges: list[Range] = Field(description="the exact part of the log that it reads")
    dataset_sha256: str | None
    dataset_rows: int | None
    duplicates: int | None
    artifact_sha256: str | None
    artifact_bytes: int | None
    metrics: dict[str, float | None]
    duration_s: float | None
    reason: str | None = Field(description="why it failed or was cancelled")
    requested_at: datetime | None
    updated_at: datetime
    attempt: int
    requested_by: str | None
    since: datetime | None = Field(description="when this attempt was asked for; runs begin in this order")
    waits_for: str | None = Field(description="why it could not begin at once")
    ahead: int | None = Field(default=None, description="runs that are to begin before it, while it waits")
    started_at: datetime | None
    ended_at: datetime | None
    worker: str | None = Field(description="process that carries it out: host and process id")
    slot: int | None = Field(description="place that it takes")
    step: Literal["reading", "fitting", "evaluating", "storing"] | None
    done: int | None = Field(description="of this step: offsets read, or epochs")
    total: int | None = Field(description="0 when it is not known")
    percent: float | None = Field(description="of the whole run, roughly: steps count by fixed shares")
    eta_s: float | None
    progress_at: datetime | None
    dataset: LeftOut | None
    manifest: dict[str, Any] | None = Field(default=None, description="of the dataset; a list of runs leaves it out")
    resources: Resources | None


class TrainingStep(BaseModel):
    """One event of a training run."""

    name: Literal[
        "requested",
        "queued",
        "started",
        "progressed",
        "dataset_built",
        "evaluated",
        "resources_used",
        "completed",
        "registered",
        "failed",
        "cancelled",
        "retried",
    ]
    attempt: int | None
    at: datetime
    actor: str | None
    correlation_id: str | None
    event_id: UUID
    details: dict[str, Any] = Field(description="what the event says")
    position: str = Field(description="where it stands in the log")
