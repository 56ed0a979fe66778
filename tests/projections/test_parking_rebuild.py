"""A rebuild leaves out what was skipped, keeps aside what still does not fit, and comes to the same read model."""

from typing import Any

from psycopg import AsyncConnection

from infra.kafka.facts import FactWriter
from infra.kafka.records import Decoder
from infra.settings import Settings
from projections.rebuild import rebuild, rollback, verify
from schemas.deadletters import RetryRequested, SkipRequested

from ..eventually import eventually
from .running import StartProjector
from .test_parking import TRAIL, append, aside, looked, parked, shows, trails
from .test_projector import letters

Database = AsyncConnection[dict[str, Any]]


async def test_a_rebuild_comes_to_the_same_table_and_the_same_that_waits(
    settings: Settings, database: Database, writer: FactWriter, projector: StartProjector
) -> None:
    """Skipping is a decision on record, and a rebuild must not undo it; nor may it fold over a gap."""
    projector(TRAIL)
    await looked(writer, "ana", "a", "bad", "b")
    await looked(writer, "eva", "x", "bad", "y")
    await aside(database, 4)
    await append(writer, SkipRequested(view="trail", key="ana", reason="a test of the shop"))
    await shows(database, {"ana": "a b", "eva": "x"})
    before = await parked(database)
    assert (await verify(settings, TRAIL)).equal
    attempt = await rebuild(settings, TRAIL)
    assert attempt.comparison is not None
    assert attempt.comparison.equal
    assert await trails(database) == {"ana": "a b", "eva": "x"}
    assert await parked(database) == before
    await looked(writer, "eva", "z")
    await looked(writer, "ana", "c")
    await shows(database, {"ana": "a b c", "eva": "x"})


async def test_what_a_rebuild_finds_to_be_poison_is_told_and_can_be_retried(
    settings: Settings, decoder: Decoder, database: Database, writer: FactWriter, projector: StartProjector
) -> None:
    """A column was made stricter: what the old table had taken no longer fits, and somebody has to hear of it."""
    projector(TRAIL)
    await eventually(lambda: _made(database))
    await database.execute("ALTER TABLE trail_v1 DROP CONSTRAINT fits")
    await looked(writer, "ana", "a", "bad", "b")
    await shows(database, {"ana": "a bad b"})
    await rebuild(settings, TRAIL)
    assert await trails(database) == {"ana": "a"}
    (letter,) = await letters(settings, decoder, 1)
    assert (letter.consumer, letter.key, letter.parked) == ("trail", "ana", True)
    await looked(writer, "ana", "c")
    await database.execute("ALTER TABLE trail_v1 DROP CONSTRAINT fits")
    await append(writer, RetryRequested(view="trail", all=True))
    await shows(database, {"ana": "a bad b c"})


async def test_going_back_brings_back_what_waited_then(
    settings: Settings, database: Database, writer: FactWriter, projector: StartProjector
) -> None:
    """The older fold and what it kept aside belong together; a skip since then holds for it, too."""
    projector(TRAIL)
    await looked(writer, "ana", "a", "bad", "b")
    await aside(database, 2)
    await rebuild(settings, TRAIL)
    await append(writer, SkipRequested(view="trail", all=True, reason="a test of the shop"))
    await shows(database, {"ana": "a b"})
    await rollback(settings, TRAIL)
    await shows(database, {"ana": "a b"})


async def _made(database: Database) -> bool:
    rows = await database.execute("SELECT to_regclass('trail_v1') IS NOT NULL AS made")
    (row,) = await rows.fetchall()
    return bool(row["made"])
