"""Generated from schemas/avro/interactions; change those files and run `python -m schemas.generate`."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class InteractionRecorded:
    """A user did something with an item.

    Attributes:
        user_id: Who.
        item_id: Which item.
        kind: What the user did.
        value: A rating (any scale), a price or a duration, as `kind` has it.
        occurred_at: When it happened, as the client saw it (the log position says when it became known).
        decision_id: The recommendation that this answers.
    """

    AVRO: ClassVar[str] = "retrace.interactions.InteractionRecorded"

    user_id: str
    item_id: str
    kind: Literal["view", "click", "rate", "like", "cart", "purchase", "skip", "other"]
    value: float | None = None
    occurred_at: datetime
    decision_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RatingRecorded:
    """The first form of an interaction, before kinds other than ratings; upcast to InteractionRecorded.

    Attributes:
        user_id: Who.
        item_id: Which item.
        rating: Stars.
        rated_at: When.
    """

    AVRO: ClassVar[str] = "retrace.interactions.RatingRecorded"

    user_id: str
    item_id: str
    rating: float
    rated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StarsGiven:
    """The form before RatingRecorded, with whole stars; upcast to it.

    Attributes:
        user_id: Who.
        item_id: Which item.
        stars: Whole stars.
        given_at: When.
    """

    AVRO: ClassVar[str] = "retrace.interactions.StarsGiven"

    user_id: str
    item_id: str
    stars: int
    given_at: datetime


InteractionsEvent: TypeAlias = InteractionRecorded
