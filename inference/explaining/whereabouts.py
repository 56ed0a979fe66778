"""Where the record of a decision stands on the log."""

import psycopg
from psycopg.rows import tuple_row

from inference.explaining.rebuild import DECISIONS
from inference.serving.reads import CHECKPOINTS
from infra.kafka.ranges import ranges_now
from infra.kafka.records import Decoder
from infra.kafka.replay import recorded
from infra.postgres import connect
from infra.settings import Settings
from schemas.decisions import RecommendationServed
from schemas.errors import NotFound, Problem
from schemas.position import Position

HINT = (
    'SELECT (SELECT json_build_array(partition, "offset") FROM decisions WHERE decision_id = %s LIMIT 1), '
    + CHECKPOINTS.format("view = 'decisions'")
)


async def find(settings: Settings, decoder: Decoder, decision_id: str) -> Position:
    """The position of a decision: as the read model knows it, else as a reading of the whole topic finds it.

    Raises:
        NotFound: it is not on the log.
        Unavailable: the brokers do not answer.
    """
    known, _ = await hint(settings, decision_id)
    if known is not None:
        return known
    async for one in recorded(settings, decoder, await ranges_now(settings, [DECISIONS])):
        if isinstance(one.event, RecommendationServed) and one.event.decision_id == decision_id:
            return one.position
    raise NotFound(
        f"there is no decision '{decision_id}' on the log: it was given by another installation, or never recorded, "
        "which `retrace audit completeness` tells",
        code="unknown_decision",
    )


async def hint(settings: Settings, decision_id: str) -> tuple[Position | None, dict[int, int]]:
    """Where the read model says that a decision stands, and how far it has been folded, by partition."""
    try:
        async with await connect(settings, "explain") as connection, connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(HINT, (decision_id,))
            place, marks = await cursor.fetchone() or (None, None)
    except (psycopg.Error, Problem):
        return None, {}  # the whole topic is read instead
    seen = {partition: offset for _, _, partition, offset in marks or ()}
    return None if place is None else Position(DECISIONS, *place), seen
