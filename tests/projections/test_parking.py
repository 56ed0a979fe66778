"""What a read model cannot take stands aside with all that comes after it of its key, and nothing else does."""

from typing import Any

import psycopg
from psycopg import AsyncConnection
from uuid6 import uuid7

from infra.kafka.facts import FactWriter
from infra.kafka.records import Decoder
from infra.settings import Settings
from projections.testing import minute
from projections.view import View
from schemas.deadletters import RetryRequested, SkipRequested
from schemas.envelope import Meta
from schemas.interactions import InteractionRecorded

from ..eventually import eventually
from .running import StartProjector
from .test_projector import send_raw

Database = AsyncConnection[dict[str, Any]]

TRAIL = View(
    name="trail",
    version=1,
    reads=(InteractionRecorded,),
    table="user_id text PRIMARY KEY, items text NOT NULL CONSTRAINT fits CHECK (items NOT LIKE '%bad%')",
    batch='user_id text, item_id text, "offset" bigint',
    apply="""
        INSERT INTO {table} AS t (user_id, items)
        SELECT user_id, string_agg(item_id, ' ' ORDER BY "offset") FROM batch GROUP BY user_id
        ON CONFLICT (user_id) DO UPDATE SET items = t.items || ' ' || excluded.items
    """,
)
"""What each user looked at, in order; it refuses items with `bad` in them until it is mended."""

MEND = "ALTER TABLE trail_v1 DROP CONSTRAINT fits"


def viewed(user: str, item: str) -> InteractionRecorded:
    return InteractionRecorded(user_id=user, item_id=item, kind="view", occurred_at=minute(0))


async def append(writer: FactWriter, *events: Any) -> list[str]:
    """Append facts; answers their positions."""
    facts = []
    for event in events:
        subject = getattr(event, "user_id", None) or event.view
        facts.append((event, Meta(id=uuid7(), type=event.AVRO, source="test", subject=subject, time=minute(0))))
    return [str(position) for position in await writer.append_all(facts)]


async def looked(writer: FactWriter, user: str, *items: str) -> list[str]:
    return await append(writer, *(viewed(user, item) for item in items))


async def trails(database: Database) -> dict[str, str]:
    rows = await (await database.execute("SELECT user_id, items FROM trail")).fetchall()
    return {row["user_id"]: row["items"] for row in rows}


async def parked(database: Database) -> list[tuple[str, str, str]]:
    rows = await database.execute(
        """SELECT concat_ws('/', topic, partition, "offset") AS position, key, role FROM projection_parked
           WHERE view = 'trail' ORDER BY topic, partition, "offset" """
    )
    return [(row["position"], row["key"], row["role"]) async for row in rows]


async def shows(database: Database, expected: dict[str, str]) -> None:
    """Wait until the read model says this."""

    async def check() -> bool:
        try:
            return await trails(database) == expected
        except psycopg.errors.UndefinedTable:
            return False

    try:
        await eventually(check)
    except TimeoutError:
        assert await trails(database) == expected


async def aside(database: Database, number: int) -> None:
    """Wait until so many events stand aside."""

    async def check() -> bool:
        return len(await parked(database)) == number

    await eventually(check)


async def test_later_events_of_the_key_wait_and_others_flow(
    database: Database, writer: FactWriter, projector: StartProjector
) -> None:
    """Folding the later ones would show what never was; holding up the others would be an outage."""
    positions = await looked(writer, "ana", "a", "bad", "b", "c")
    await looked(writer, "eva", "x", "y")
    running = projector(TRAIL)
    await shows(database, {"ana": "a", "eva": "x y"})
    await looked(writer, "ana", "d")
    await looked(writer, "eva", "z")
    await shows(database, {"ana": "a", "eva": "x y z"})
    await aside(database, 4)
    assert [(position, role) for position, _, role in await parked(database)][:3] == [
        (positions[1], "poison"),
        (positions[2], "waiting"),
        (positions[3], "waiting"),
    ]
    await eventually(lambda: _is(running.health.ready))


async def test_what_stands_aside_is_known_after_a_restart(
    database: Database, writer: FactWriter, projector: StartProjector
) -> None:
    """A projector that forgot would fold the next event of the key over the gap."""
    await looked(writer, "ana", "a", "bad")
    running = projector(TRAIL)
    await aside(database, 1)
    await running.stop()
    await looked(writer, "ana", "b")
    projector(TRAIL)
    await aside(database, 2)
    assert await trails(database) == {"ana": "a"}


async def test_a_retry_takes_the_event_and_those_behind_it_in_order(
    database: Database, writer: FactWriter, projector: StartProjector
) -> None:
    """The point of waiting: in the end the read model is as if nothing had been wrong."""
    projector(TRAIL)
    await looked(writer, "ana", "a", "bad", "b", "bad2", "c")
    await aside(database, 4)
    await database.execute(MEND)
    await append(writer, RetryRequested(view="trail", key="ana"))
    await shows(database, {"ana": "a bad b bad2 c"})
    assert await parked(database) == []
    await looked(writer, "ana", "d")
    await shows(database, {"ana": "a bad b bad2 c d"})


async def test_a_retry_that_fails_again_is_counted_and_changes_nothing(
    database: Database, writer: FactWriter, projector: StartProjector
) -> None:
    """Trying before the cause is mended must be harmless."""
    projector(TRAIL)
    await looked(writer, "ana", "a", "bad", "b")
    await aside(database, 2)
    await append(writer, RetryRequested(view="trail", all=True))
    attempts = "SELECT attempts FROM projection_parked WHERE role = 'poison'"
    await eventually(lambda: _equals(database, attempts, 2))
    assert await trails(database) == {"ana": "a"}
    assert len(await parked(database)) == 2


async def test_a_skipped_event_is_left_out_and_the_others_flow(
    database: Database, writer: FactWriter, projector: StartProjector
) -> None:
    """What will never fit is left out by somebody's decision; the next that does not fit stands aside in turn."""
    projector(TRAIL)
    await looked(writer, "ana", "a", "bad", "b", "bad2", "c")
    await aside(database, 4)
    await append(writer, SkipRequested(view="trail", key="ana", reason="a test of the shop"))
    await shows(database, {"ana": "a b"})
    assert [role for _, _, role in await parked(database)] == ["poison", "waiting"]
    await append(writer, SkipRequested(view="trail", code="does_not_fit_view", reason="another"))
    await shows(database, {"ana": "a b c"})
    assert await parked(database) == []


async def test_a_record_nobody_can_read_parks_its_key(
    settings: Settings, decoder: Decoder, database: Database, writer: FactWriter, projector: StartProjector
) -> None:
    """What it says is unknown, so whatever comes after it of the key may rest on it."""
    projector(TRAIL)
    event = viewed("ana", "a")
    headers = Meta(id=uuid7(), type=event.AVRO, source="test", subject="ana", time=minute(0)).headers()
    await looked(writer, "ana", "a")
    await send_raw(settings, "interactions", "ana", decoder.codec.encode(event)[:-3], headers)
    await looked(writer, "ana", "b")
    await looked(writer, "eva", "x")
    await shows(database, {"ana": "a", "eva": "x"})
    await aside(database, 2)
    await append(writer, SkipRequested(view="trail", all=True, reason="cut off by a foreign program"))
    await shows(database, {"ana": "a b", "eva": "x"})


async def _is(value: bool) -> bool:
    return value


async def _equals(database: Database, query: str, value: Any) -> bool:
    row = await (await database.execute(query.encode())).fetchone()
    return row is not None and next(iter(row.values())) == value
