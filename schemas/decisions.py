"""Generated from schemas/avro/decisions; change those files and run `python -m schemas.generate`."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class AsOf:
    """How far a read model had been folded when it was read.

    Attributes:
        view: Read model.
        topic: Topic, without prefix.
        partition: Partition.
        next_offset: First offset that was not yet part of what was read.
    """

    AVRO: ClassVar[str] = "retrace.decisions.AsOf"

    view: str
    topic: str
    partition: int
    next_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredItem:
    """An item and its score.

    Attributes:
        item_id: Which item.
        score: Score by which items were ordered.
    """

    AVRO: ClassVar[str] = "retrace.decisions.ScoredItem"

    item_id: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RecommendationServed:
    """A recommendation was answered: with what, from what, by what.

    Attributes:
        user_id: Who.
        decision_id: Decision, as the caller got it.
        model: Model that was asked for.
        source: What made the answer: the model, the user's last good answer, what follows the user's items, what is
            popular in the user's categories, what is popular, or nothing.
        fallback_reason: Why the model did not make the answer.
        version: Version of the model; null when none made the answer.
        artifact_sha256: Artifact that scored.
        deployment_id: Deployment that brought the artifact.
        arm: Arm of the experiment.
        positions: What was known when the answer was made.
        history_length: Interactions given to the model.
        history_sha256: Hash of the item ids and weights given to the model, in order.
        candidates: Items the model was asked for before filters.
        filtered: Items taken out: retired or hidden.
        based_on: The earlier decision whose answer was given again.
        limit: Items the caller wanted.
        items: The answer, best first.
        served_at: When the answer was made.
        latency_ms: From request to answer.
        server: Server that answered.
        sequence: 1, 2, 3 ... for each server and start, so that a missing record shows.
    """

    AVRO: ClassVar[str] = "retrace.decisions.RecommendationServed"

    user_id: str
    decision_id: str
    model: str
    source: Literal["model", "last_good", "co_occurrence", "popular_in_category", "popular", "none"]
    fallback_reason: str | None = None
    version: int | None = None
    artifact_sha256: str | None = None
    deployment_id: str | None = None
    arm: str = "default"
    positions: tuple[AsOf, ...]
    history_length: int
    history_sha256: str
    candidates: int
    filtered: tuple[str, ...] = ()
    based_on: str | None = None
    limit: int
    items: tuple[ScoredItem, ...]
    served_at: datetime
    latency_ms: float
    server: str
    sequence: int


DecisionsEvent: TypeAlias = RecommendationServed
