"""What the searches of the query API answer, for its OpenAPI document."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field


class CategoryCount(BaseModel):
    """How many found items are of a category."""

    category: str
    items: int


class ValueCount(BaseModel):
    """How many found items have a value of an attribute."""

    value: str
    items: int


class FoundItem(BaseModel):
    """An item that a search found."""

    item_id: str
    title: str | None
    description: str | None
    categories: list[str]
    attributes: dict[str, str]
    rank: int | None = Field(description="place in the ranking, from 1; null in a list by item id")
    score: float | None = Field(description="of the first page, comparable within it alone")


class FoundItems(BaseModel):
    """A page of items that a search found, best first."""

    items: list[FoundItem]
    next: str | None = Field(description="give it as `cursor` for the next page; null after the last")
    ranking: Literal["text", "semantic", "hybrid"] | None = Field(
        description="what decided the ranking; null in a list by item id"
    )
    ranking_reason: str | None = Field(description="why words alone decided although more was asked for")
    total: int | None = Field(description="items found, on the first page; a ranking names the best 200 of them")
    categories: list[CategoryCount] | None = Field(description="on the first page: found items by category")
    facets: dict[str, list[ValueCount]] | None = Field(description="on the first page: by each attribute asked for")


class Suggestion(BaseModel):
    """An item whose title may be meant."""

    item_id: str
    title: str


class Suggestions(BaseModel):
    """Titles that somebody may be typing, likeliest first."""

    items: list[Suggestion]


class FoundEvent(BaseModel):
    """An event that a search found; what it says is in the log, at its position."""

    id: str
    type: str
    topic: str
    partition: int
    offset: int
    key: str = Field(description="record key: what the event is about")
    user_id: str | None
    item_id: str | None
    model: str | None
    actor: str
    time: datetime = Field(description="when it was written")
    correlation_id: str | None = Field(description="shared by everything that one request led to")
    causation_id: str | None = Field(description="the command or event that led to it")


class FoundEvents(BaseModel):
    """A page of events, newest first."""

    events: list[FoundEvent]
    next: str | None = Field(description="give it as `cursor` for the next page; null after the last")
    total: int | None = Field(description="events found, on the first page")


class FoundInteraction(BaseModel):
    """An interaction that a search found."""

    id: UUID
    user_id: str
    item_id: str
    kind: str
    value: float | None
    decision_id: str | None = Field(description="the recommendation that it answers")
    occurred_at: datetime
    position: str = Field(description="where it stands in the log")


class FoundInteractions(BaseModel):
    """A page of interactions, newest first."""

    interactions: list[FoundInteraction]
    next: str | None = Field(description="give it as `cursor` for the next page; null after the last")


class FoundDecision(BaseModel):
    """A decision that a search found."""

    decision_id: str
    user_id: str
    model: str
    version: int | None
    artifact_sha256: str | None
    deployment_id: str | None
    source: str
    fallback_reason: str | None
    arm: str
    items: list[str]
    latency_ms: float
    server: str
    served_at: datetime
    position: str


class FoundDecisions(BaseModel):
    """A page of decisions, newest first."""

    decisions: list[FoundDecision]
    next: str | None = Field(description="give it as `cursor` for the next page; null after the last")
    total: int | None = Field(description="decisions found, on the first page")
