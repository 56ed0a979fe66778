"""What the query API answers about lineage, for its OpenAPI document."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from projections.answers import Version
from projections.answers_deployments import Deployment
from projections.answers_runs import LeftOut, Range, TrainingStep


class SeenBy(BaseModel):
    """A version, and what it has seen."""

    model: str
    version: int
    run_id: str | None
    algorithm: str | None
    artifact_sha256: str | None
    dataset_sha256: str | None
    dataset_rows: int | None
    retired: bool
    registered_at: datetime | None
    live: bool = Field(description="whether it serves now")
    saw: bool = Field(description="whether any is in its dataset; of profiles and catalog: was read for it")
    rows: int = Field(description="how many are")
    users: int = Field(description="how many people they are of")
    items: int = Field(description="how many items they are with")
    left_out: dict[str, int] = Field(
        description="how many are not, by why: outside its ranges, repeated, silent, erased, withdrawn"
    )
    first: str | None = Field(description="where the first of them stands in the log")
    last: str | None
    exact: bool
    doubt: str | None = Field(description="why the answer may not be exact")


class FoundBy(BaseModel):
    """How the events were found: an index says where to look, and the log is read where it says nothing."""

    scanned: int = Field(description="offsets that were read one after another")
    picked: int = Field(description="records that were read singly")
    indexed: int = Field(description="offsets that an index knew to be of others, and were not read")
    why: list[str] = Field(description="why parts of the log were read whole, if any were")


class Seen(BaseModel):
    """Which versions have seen something."""

    about: dict[str, Any]
    interactions: int = Field(
        description="that were found, in the part of the log that any version has read; events of "
        "a range of profiles or catalog"
    )
    read: FoundBy
    versions: list[SeenBy]


class ReadRange(Range):
    """A part of the log that a run has read."""

    offsets: int


class DatasetFacts(BaseModel):
    """What a version was fitted on."""

    dataset_sha256: str | None
    dataset_rows: int | None
    duplicates: int | None
    dataset: LeftOut | None


class VersionLineage(BaseModel):
    """What a version was made from, and where it went."""

    version: Version
    live: bool
    run: dict[str, Any] | None = Field(description="as /training-runs has it")
    dataset: DatasetFacts | None
    ranges: list[ReadRange] = Field(description="the exact part of the log that the dataset was built from")
    steps: list[TrainingStep]
    deployments: list[Deployment]
