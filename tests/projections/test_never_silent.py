"""A read model that cannot go on says so, with its cause, and goes on as soon as it can."""

from typing import Any

import pytest
from psycopg import AsyncConnection

from infra.health import Health
from infra.kafka.facts import FactWriter
from projections import watch
from projections.standing import LONGEST_PAUSE_S, Standing
from projections.view import View
from projections.views import popularity
from projections.watch import Lag, Movement
from schemas.interactions import InteractionRecorded

from ..eventually import eventually
from .running import Running, StartProjector
from .telling import append, viewed

Database = AsyncConnection[dict[str, Any]]

NEEDY = View(
    name="needy",
    version=1,
    reads=(InteractionRecorded,),
    table="item_id text PRIMARY KEY, met bigint NOT NULL",
    batch="item_id text",
    apply="""
        INSERT INTO {table} AS old (item_id, met) SELECT item_id, needed(count(*)) FROM batch GROUP BY item_id
        ON CONFLICT (item_id) DO UPDATE SET met = old.met + excluded.met
    """,
)
"""Needs a function of the database that somebody has to make."""


async def cause(running: Running, view: str) -> str:
    """What health says of a view; nothing while it is well."""
    component = running.health.components.get(view)
    return "" if component is None or component.ok else str(component.cause)


async def total(database: Database, view: str, column: str) -> int:
    rows = await database.execute(f"SELECT coalesce(sum({column}), 0)::int AS total FROM {view}".encode())
    row = await rows.fetchone()
    return int(row["total"]) if row else 0


async def test_a_stopped_view_is_tried_again(database: Database, writer: FactWriter, projector: StartProjector) -> None:
    """Mending the cause is enough: nobody has to restart anything, and nothing was skipped meanwhile."""
    running = projector(NEEDY, popularity.VIEW)
    await append(writer, *(viewed("ana", f"i{n % 3}") for n in range(9)))

    async def stopped() -> bool:
        said = await cause(running, "needy")
        return said.startswith("stopped") and "needed" in said

    async def others_run() -> bool:
        return await total(database, "popularity", "interactions") == 9

    async def mended() -> bool:
        return await total(database, "needy", "met") == 10 and await cause(running, "needy") == ""

    await eventually(stopped)
    await eventually(others_run)
    await database.execute("CREATE FUNCTION needed(n bigint) RETURNS bigint LANGUAGE sql AS 'SELECT n'")
    await append(writer, viewed("ben", "i0"))
    await eventually(mended, within_s=LONGEST_PAUSE_S * 2)


async def test_a_checkpoint_that_stands_still_is_told(
    database: Database, writer: FactWriter, projector: StartProjector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock that somebody forgot holds the fold up without any error: only the missing movement shows it."""
    monkeypatch.setattr(watch, "STALLED_AFTER_S", 1.0)
    monkeypatch.setattr(watch, "EVERY_S", 0.3)
    running = projector(popularity.VIEW)
    await append(writer, viewed("ana"))

    async def runs() -> bool:
        return running.health.ready and await total(database, "popularity", "interactions") > 0

    async def stalled() -> bool:
        said = await cause(running, "popularity")
        return said.startswith("stalled: interactions/") and "records to fold" in said

    async def goes_on() -> bool:
        return await total(database, "popularity", "interactions") == 2 and await cause(running, "popularity") == ""

    await eventually(runs)
    async with database.transaction():
        await database.execute("SELECT 1 FROM projection_offsets FOR UPDATE")
        await append(writer, viewed("ana"))
        await eventually(stalled)
    await eventually(goes_on)


def lag(offset: int, events: int) -> Lag:
    return Lag("interactions", 0, offset, events, 0.0)


def test_only_what_has_something_to_do_can_be_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quiet topic is no fault, and a checkpoint that moves slowly is none either."""
    now = 100.0
    monkeypatch.setattr("projections.watch.time.monotonic", lambda: now)
    movement = Movement()
    assert movement.stuck("v", lag(5, 0)) == 0
    now += 60
    assert movement.stuck("v", lag(5, 0)) == 0
    assert movement.stuck("v", lag(5, 3)) == 0
    now += 40
    assert movement.stuck("v", lag(5, 4)) == 40
    assert movement.stuck("v", lag(6, 3)) == 0


def test_pauses_grow_up_to_a_limit() -> None:
    """A view that fails for ever must not keep a server busy, and one that is mended must not wait for hours."""
    standing = Standing(popularity.VIEW, Health("projector"))
    pauses = []
    for _ in range(10):
        standing._again_at = 0.0
        standing.stops(ValueError("wrong"))
        pauses.append(standing.pause_s)
    assert pauses[0] < 2
    assert max(pauses) <= LONGEST_PAUSE_S * 1.2
    assert pauses[-1] >= LONGEST_PAUSE_S * 0.5
    assert "(tried 10 times)" in standing.cause
