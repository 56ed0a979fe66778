"""How fresh an answer has to be: what a query insists on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from projections.view import Projection, topics_of
from schemas.errors import Invalid
from schemas.position import Position
from schemas.topics import TOPICS

MAX_POSITIONS = 64

Moment: TypeAlias = datetime | tuple[Position, ...]
"""A point of the log: what stood there at a time, or up to and with these positions."""


@dataclass(frozen=True)
class Freshness:
    """What a query insists on.

    Attributes:
        positions: must have been folded before the query is answered.
        wait_s: how long it may wait for that.
        as_of: answer from the log as it was then; None for the read models.
        exact: answer from the log as it is now.
    """

    positions: tuple[Position, ...] = ()
    wait_s: float = 2.0
    as_of: Moment | None = None
    exact: bool = False

    @property
    def is_live(self) -> bool:
        """Whether the read models answer; else the log does."""
        return self.as_of is None and not self.exact


def positions_in(texts: Iterable[str]) -> tuple[Position, ...]:
    """Positions, each text with one or with several and commas between.

    Raises:
        Invalid: one has another form, or there are too many.
    """
    given = list(texts)
    found = [text.strip() for part in given for text in part.split(",") if text.strip()] or given[:1]
    if len(found) > MAX_POSITIONS:
        raise Invalid(f"{len(found)} positions are too many: give {MAX_POSITIONS} at most", code="too_many_positions")
    return tuple(Position.parse(text) for text in found)


def check_topics(positions: Sequence[Position], projections: Iterable[Projection]) -> None:
    """See that these read models are folded from the topics of these positions.

    Raises:
        Invalid: one is of another topic.
    """
    wanted = list(projections)
    read = {topic for projection in wanted for topic in topics_of(projection)}
    for position in positions:
        if position.topic not in TOPICS:
            raise Invalid(
                f"there is no topic '{position.topic}'; give positions as answers gave them", code="unknown_topic"
            )
        if position.topic not in read:
            names = " and ".join(projection.name for projection in wanted)
            detail = f"{names} is folded from {', '.join(sorted(read))}, not from '{position.topic}'"
            raise Invalid(f"{detail}; ask without that position", code="position_of_another_topic")
