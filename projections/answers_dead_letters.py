"""What the query API answers about dead letters, for its OpenAPI document."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

State = Literal["parked", "recovered", "skipped", "passed", "gone"]


class DeadLetter(BaseModel):
    """A record that a reader could not take."""

    letter_id: str
    view: str = Field(description="the read model, or another reader, that could not take it")
    version: int = Field(description="of the read model; 0 of another reader")
    position: str | None = Field(description="where the record stands in the log")
    key: str
    type: str | None = Field(description="of the record, as its headers name it")
    state: State = Field(
        description="parked: it waits to be tried again or left out, and later records of its key wait behind it; "
        "passed: another reader, which has gone on; gone: of a version of the read model that is no more"
    )
    code: str
    cause: str
    attempts: int
    waiting: int = Field(description="records of the same key that wait behind it")
    reason: str | None = Field(description="why it was left out")
    first_at: datetime
    last_at: datetime


class DeadLetters(BaseModel):
    """Dead letters, the last one tried first."""

    dead_letters: list[DeadLetter]
    next: str | None = Field(description="give it as `cursor` for the next page; null on the last")


class Happening(BaseModel):
    """Something that happened to a dead letter."""

    event: str
    at: datetime
    actor: str
    code: str | None = None
    cause: str | None = None
    reason: str | None = None
    request_id: str | None = None


class RecordShown(BaseModel):
    """The record itself, as it stands in the log."""

    headers: dict[str, str]
    size_bytes: int
    schema_id: int | None
    event: str | None = Field(description="its type in today's form; null when it cannot be read")
    fields: dict[str, Any] | None = Field(description="decoded; what is personal stands as `<personal>`")
    unreadable: str | None = Field(description="why it cannot be read")


class DeadLetterShown(DeadLetter):
    """A dead letter with all that is known of it."""

    history: list[Happening]
    behind: list[str] = Field(description="positions of the first hundred that wait behind it")
    record: RecordShown | None = Field(description="null when the log no longer has it")


class Cause(BaseModel):
    """Dead letters that have the same cause."""

    view: str
    code: str
    cause: str = Field(description="with … in place of what differs from record to record")
    state: State
    records: int
    keys: int
    first_at: datetime
    last_at: datetime
    example: str = Field(description="id of one of them")


class KeyCount(BaseModel):
    """What of one key stands aside."""

    key: str
    poison: int
    waiting: int
    code: str
    cause: str


class Selected(BaseModel):
    """What a request would be about."""

    view: str
    version: int
    selection: str
    poison: int = Field(description="records that would be tried again, or left out")
    waiting: int = Field(description="records behind them, which would be taken afterwards")
    causes: list[dict[str, Any]] = Field(description="by code and cause: poison and waiting")
    keys: list[KeyCount] = Field(description="the first hundred keys")


class RequestOnRecord(BaseModel):
    """What was asked of dead letters, and what it led to."""

    request_id: str
    kind: Literal["retry", "skip"] | None
    view: str
    actor: str | None
    reason: str | None
    requested_at: datetime | None
    settled_at: datetime | None = Field(description="null while it waits to be done")
    version: int | None
    selection: str | None
    recovered: int | None
    failed: int | None
    skipped: int | None
    released: int | None
    problem: str | None = Field(description="why nothing was done; empty when something was")
