"""Where the record of a decision stands on the log."""

import psycopg

from infra.kafka.ranges import ranges_now
from infra.kafka.records import Decoder
from infra.kafka.replay import recorded
from infra.postgres import connect
from infra.settings import Settings
from schemas.decisions import RecommendationServed
from schemas.errors import NotFound, Unavailable
from schemas.position import Position

DECISIONS = "decisions"


async def find(settings: Settings, decoder: Decoder, decision_id: str) -> Position:
    """The position of a decision: as the read model knows it, else as a reading of the whole topic finds it.

    Raises:
        NotFound: it is not on the log.
        Unavailable: the brokers do not answer.
    """
    known = await _known(settings, decision_id)
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


async def _known(settings: Settings, decision_id: str) -> Position | None:
    try:
        async with await connect(settings, "audit") as connection:
            rows = await connection.execute(
                'SELECT partition, "offset" FROM decisions WHERE decision_id = %s', (decision_id,)
            )
            row = await rows.fetchone()
    except (Unavailable, psycopg.Error):
        return None
    return None if row is None else Position(DECISIONS, row["partition"], row["offset"])
