"""What the query API answers, for its OpenAPI document."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from projections.answers_runs import TrainingRun


class Profile(BaseModel):
    """A user as of now."""

    user_id: str
    name: str | None
    attributes: dict[str, str]
    favourite_categories: list[str]
    hidden_categories: list[str]
    language: str | None = Field(description="language tag (BCP 47)")
    personalisation: bool = Field(description="whether the history may be used for recommendations")
    training: bool = Field(description="whether the history may be used for fitting models")
    registered_at: datetime | None
    version: int = Field(description="events of this user so far; give it as If-Match to a command")


class KeyOnRecord(BaseModel):
    """An API key; its secret is known to its holder alone."""

    key_id: str
    name: str = Field(description="the actor in the events that it leads to")
    roles: list[str]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    rotated_at: datetime | None
    previous_until: datetime | None = Field(description="until when the secret before the last is valid")
    revoked_at: datetime | None
    revoked_by: str | None
    reason: str | None = Field(description="why it was revoked")
    last_used_at: datetime | None = Field(description="put on record every few minutes at most")


class ScheduleOnRecord(BaseModel):
    """A command that is sent later, or was."""

    schedule_id: str
    status: Literal["pending", "cancelled", "fired", "sent", "failed"] = Field(
        description="fired: it will be sent, for good; sent: it is on its topic, `command_id` tells what became of it"
    )
    due_at: datetime
    revision: int = Field(description="how often the time was set")
    command_type: str
    data: Any = Field(description="fields of the command")
    scheduled_by: str
    scheduled_at: datetime
    command_id: str | None = Field(description="of the command that was sent")
    reason: str | None = Field(description="why it was cancelled or could not be sent")
    updated_at: datetime


class HistoryEntry(BaseModel):
    """One interaction."""

    item_id: str
    kind: str
    value: float | None
    occurred_at: datetime
    decision_id: str | None = Field(description="the recommendation that it answers")
    event_id: UUID
    position: str = Field(description="where it stands in the log")


class History(BaseModel):
    """Interactions of a user, newest first."""

    user_id: str
    interactions: list[HistoryEntry]
    next: str | None = Field(description="give it as `cursor` for the next page; null on the last")


class Item(BaseModel):
    """An item of the catalogue."""

    item_id: str
    title: str | None
    description: str | None
    categories: list[str]
    attributes: dict[str, str]
    retired: bool
    version: int = Field(description="events of this item so far; give it as If-Match to a command")


class Items(BaseModel):
    """Items by id."""

    items: list[Item]
    next: str | None = Field(description="give it as `cursor` for the next page; null on the last")


class Facet(BaseModel):
    """How many of the found items are in a category."""

    category: str
    items: int


class PopularItem(BaseModel):
    """An item and how often it was met."""

    item_id: str
    title: str | None
    categories: list[str] | None
    interactions: int
    last_at: datetime


class TrendingItem(BaseModel):
    """An item and its newest window."""

    item_id: str
    title: str | None
    window_start: datetime
    window_end: datetime
    interactions: int
    score: float = Field(description="interactions over what the window before would let expect; above 1 is rising")


class Version(BaseModel):
    """A registered version of a model."""

    model: str
    version: int
    run_id: str | None
    algorithm: str | None
    artifact_sha256: str | None
    dataset_sha256: str | None
    metrics: dict[str, float | None]
    retired: bool
    registered_at: datetime | None


class Live(BaseModel):
    """The version that serves."""

    model: str
    version: int
    artifact_sha256: str
    deployment_id: str
    since: datetime


class ModelSummary(BaseModel):
    """A model in the list of models."""

    model: str
    versions: int = Field(description="how many are registered")
    latest: int = Field(description="the highest version")
    live: int | None = Field(description="the version that serves")


class Model(BaseModel):
    """A model with its versions, newest first."""

    model: str
    versions: list[Version]
    live: Live | None
    next: str | None = Field(description="give it as `cursor` for the next page; null on the last")


class VersionDetail(Version):
    """A version with the run that made it."""

    training_run: TrainingRun | None


class Decision(BaseModel):
    """A recommendation that was served."""

    decision_id: str
    user_id: str
    model: str
    version: int | None
    artifact_sha256: str | None
    deployment_id: str | None
    source: Literal["model", "last_good", "co_occurrence", "popular_in_category", "popular", "none"]
    fallback_reason: str | None
    arm: str
    items: list[dict[str, Any]]
    positions: list[dict[str, Any]] = Field(description="what was known when the answer was made")
    history_length: int
    history_sha256: str
    candidates: int
    filtered: list[str]
    based_on: str | None
    limit: int
    latency_ms: float
    server: str
    sequence: int
    served_at: datetime
    partition: int
    offset: int


class CommandAnswer(BaseModel):
    """What became of a command."""

    command_id: str
    outcome: Literal["accepted", "rejected", "repeated"]
    status: int = Field(description="HTTP status of the answer")
    code: str | None
    detail: str | None
    type: str = Field(description="of the command where an outcome names it, else of the last event it led to")
    aggregate_id: str
    version: int = Field(description="of the aggregate after the command")
    actor: str
    tenant: str
    topic: str
    partition: int
    offset: int = Field(description="of the last event of the answer")
    command_offset: int = Field(description="of the command, in the command topic")
    answered_at: datetime
    repeats: int = Field(description="how often the command came again under the same id")


class PartitionLag(BaseModel):
    """How far behind the log, in one partition."""

    topic: str
    partition: int
    next_offset: int
    events: int
    seconds: float


class ParkedCount(BaseModel):
    """What a read model could not take."""

    poison: int
    waiting: int = Field(description="events of the same keys behind them")
    oldest_s: float


class ProjectionStatus(BaseModel):
    """A read model and how it is doing."""

    name: str
    version: int
    store: Literal["postgres", "elasticsearch"]
    state: Literal["starting", "running", "waiting", "stalled", "stopped", "silent", "absent"]
    cause: str
    lag_events: int
    lag_seconds: float
    parked: ParkedCount
    partitions: list[PartitionLag]


class RowDifference(BaseModel):
    """A row that only one of two folds has."""

    side: Literal["live", "fresh"]
    row: str = Field(description="as JSON")


class FoldComparison(BaseModel):
    """A live read model beside a fresh fold of the log, both at the same position."""

    name: str
    equal: bool
    live_rows: int
    fresh_rows: int
    live_hash: str = Field(description="sum over the hashes of all rows, hexadecimal")
    fresh_hash: str
    sample: list[RowDifference]


class RebuildStatus(BaseModel):
    """A rebuild of a read model, or a verification while it runs."""

    id: int
    view: str
    version: int
    purpose: Literal["rebuild", "verify"]
    state: Literal["running", "deserted", "paused", "ready", "switched", "rolled_back", "retired", "failed"] = Field(
        description="deserted: its process is gone, it can be resumed"
    )
    target: str | None = Field(description="the table or index beside the live one: fresh, or kept after a switch")
    rate: int | None = Field(description="records a second at most")
    requested_by: str
    total: int = Field(description="records to read")
    folded: int = Field(description="records read")
    events_per_s: float
    eta_s: float | None
    comparison: FoldComparison | None
    cause: str
    started_at: datetime
    updated_at: datetime
