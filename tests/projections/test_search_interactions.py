"""Searching interactions: what audits ask for beside the history of one user."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid5

import pytest
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from infra.kafka.facts import FactWriter
from infra.settings import Settings
from projections.interactions import FILTERS, NARROW, question
from projections.table import Table
from projections.testing import minute
from projections.views import user_history, user_profile
from schemas.identity import TENANTS
from schemas.interactions import InteractionRecorded

from .conftest import Get
from .running import StartProjector
from .telling import meta_of

PAGE = 4


@pytest.fixture
async def told(projector: StartProjector, writer: FactWriter) -> dict[str, Any]:
    """Thirty interactions of three users with ten items, a minute apart, two in each minute; as parameters of a query.

    Ids are what clients chose, the hardest to find: they lie in no order.
    """
    projector(user_history.VIEW, user_profile.VIEW)
    pairs = []
    for n in range(30):
        kind: Any = "rate" if n % 5 == 0 else "view"
        event = InteractionRecorded(
            user_id=f"u{n % 3}",
            item_id=f"i{n % 10}",
            kind=kind,
            value=float(n) if kind == "rate" else None,
            occurred_at=minute(n // 2),
            decision_id="d1" if n == 7 else None,
        )
        meta = meta_of(event, event.user_id)
        object.__setattr__(meta, "id", uuid5(TENANTS, str(n)))
        pairs.append((event, meta))
    positions = await writer.append_all(pairs)
    return {"min-position": ",".join(map(str, positions)), "wait": 30}


async def _all(get: Get, **asked: Any) -> list[Mapping[str, Any]]:
    """Every page of a search, put together."""
    status, page, _ = await get("/interactions/search", limit=PAGE, **asked)
    assert status == 200, page
    found = list(page["interactions"])
    later = {name: value for name, value in asked.items() if name not in ("min-position", "wait")}
    while page["next"]:
        status, page, _ = await get("/interactions/search", limit=PAGE, cursor=page["next"], **later)
        assert status == 200, page
        found += page["interactions"]
    return found


async def test_interactions_are_found_by_whatever_an_audit_knows(told: dict[str, Any], get: Get) -> None:
    """Given thirty interactions, when asked by id, user, item, kind, decision or time, then these are found, once."""
    whole = await _all(get, since=minute(0).isoformat(), **told)
    assert len({one["id"] for one in whole}) == 30
    assert [one["occurred_at"] for one in whole] == sorted((one["occurred_at"] for one in whole), reverse=True)
    seventh = str(uuid5(TENANTS, "7"))

    for asked, found in [
        ({"id": seventh}, 1),
        ({"user_id": "u1"}, 10),
        ({"item_id": "i5"}, 3),
        ({"item_id": "i5", "kind": "rate"}, 3),
        ({"item_id": "i6", "kind": "rate"}, 0),
        ({"decision_id": "d1"}, 1),
        ({"since": minute(3).isoformat(), "until": minute(5).isoformat()}, 4),
        ({"user_id": "u1", "since": minute(14).isoformat()}, 1),
        ({"user_id": "nobody"}, 0),
    ]:
        assert len(await _all(get, **asked)) == found, asked
    (one,) = await _all(get, id=seventh)
    assert (one["user_id"], one["item_id"], one["decision_id"]) == ("u1", "i7", "d1")
    assert one["position"].startswith("interactions/")


@pytest.mark.parametrize(
    ("asked", "code", "told_of"),
    [
        ({}, "nothing_asked", "since"),
        ({"kind": "view", "until": minute(5).isoformat()}, "nothing_asked", "item_id"),
        ({"item": "i5"}, "unknown_parameter", "item_id"),
        ({"item_id": "i5", "kind": "vew"}, "invalid", "view"),
        ({"id": "seven"}, "invalid", ""),
        ({"since": "2026-01-31T12:00:00"}, "invalid", "offset from UTC"),
    ],
)
async def test_what_is_not_searched_is_refused(get: Get, asked: dict[str, str], code: str, told_of: str) -> None:
    """Given a filter that does not exist, or none that narrows, when asked, then it is named: no wrong empty answer."""
    status, problem, _ = await get("/interactions/search", **asked)
    assert (status, problem["code"]) == (422, code)
    assert told_of in str(problem)


async def test_a_cursor_of_other_filters_is_refused(told: dict[str, Any], get: Get) -> None:
    """Given a page, when its cursor is sent with another item, then it is refused: it would pass rows over."""
    _, page, _ = await get("/interactions/search", limit=1, item_id="i5", **told)
    status, problem, _ = await get("/interactions/search", limit=1, item_id="i6", cursor=page["next"])
    assert (status, problem["code"]) == (422, "cursor_of_another_query")


async def test_each_search_has_an_index(database: AsyncConnection[DictRow], told: dict[str, Any], get: Get) -> None:
    """Given a narrowing filter, when it is planned without reading everything, then an index serves it."""
    await _all(get, item_id="i5", **told)
    await database.execute("SET enable_seqscan = off")
    values = {"id": uuid5(TENANTS, "7"), "user_id": "u1", "item_id": "i5", "decision_id": "d1", "since": minute(1)}
    assert set(values) == set(NARROW) <= set(FILTERS)
    for name, value in values.items():
        text = question(frozenset({name})).parts["found"]
        rows = await database.execute(b"EXPLAIN " + text.encode(), {name: value, "rows": 10})
        plan = "\n".join(str(row) for row in await rows.fetchall())
        assert "Seq Scan" not in plan, plan


async def test_an_index_that_was_declared_later_is_made(
    settings: Settings, database: AsyncConnection[DictRow], told: dict[str, Any], get: Get
) -> None:
    """Given a table from before an index was declared, when the service starts, then the index is there."""
    await _all(get, item_id="i5", **told)
    kept = await _indexes(database)
    for name in set(kept) - {"user_history_v1_pkey"}:
        await database.execute(f"DROP INDEX {name}".encode())

    await Table(user_history.VIEW, settings.postgres.db_schema).create(database)

    assert sorted((await _indexes(database)).values()) == sorted(kept.values())


async def _indexes(database: AsyncConnection[DictRow]) -> dict[str, str]:
    """What each index is over, by its name."""
    rows = await database.execute(
        "SELECT indexrelid::regclass::text AS name, split_part(pg_get_indexdef(indexrelid), ' USING ', 2) AS over "
        "FROM pg_index WHERE indrelid = 'user_history_v1'::regclass"
    )
    return {row["name"]: row["over"] for row in await rows.fetchall()}
