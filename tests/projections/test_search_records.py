"""Searching what happened: by whom and what it is about, page by page, and never by anything personal."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from infra.kafka.facts import FactWriter
from infra.kafka.records import Decoder
from infra.settings import Settings
from projections.testing import minute
from projections.views import decisions_search, events_search
from schemas.catalog import ItemAdded
from schemas.models import ModelRegistered
from schemas.outcomes import CommandRejected
from schemas.profiles import ConsentWithdrawn, UserRegistered

from .conftest import Get
from .running import StartProjector
from .samples import served
from .searching import decided
from .telling import Decided, meta_of

REGISTERED = ModelRegistered(
    model="movies", version=1, run_id="r1", algorithm="ease", artifact_sha256="a", dataset_sha256="d", metrics={}
)
REFUSED = CommandRejected(
    command_id="c1", command_type="retrace.profiles.RegisterUser", status=409, code="taken", detail="Ana"
)


@pytest.fixture
async def log(settings: Settings, decoder: Decoder, projector: StartProjector) -> AsyncIterator[Decided]:
    projector(events_search.INDEX, decisions_search.INDEX)
    async with decided(settings, decoder) as writer:
        yield writer


@pytest.fixture
async def told(log: Decided) -> dict[str, Any]:
    """What an audit looks for, in the log; as parameters of a query that wants to see it."""
    positions = [
        await log.append(UserRegistered(user_id="u1", name="Ana"), time=minute(0), actor="web", correlation_id="one"),
        await log.append(ConsentWithdrawn(user_id="u1", purpose="training"), time=minute(1), actor="ana"),
        await log.append(UserRegistered(user_id="u2"), time=minute(2), correlation_id="one"),
        await log.append(REFUSED, topic="profiles", key="u1", time=minute(3)),
        await log.append(ItemAdded(item_id="i1", title="Alien"), time=minute(4)),
        await log.append(REGISTERED, time=minute(5)),
    ]
    return {"min-position": ",".join(map(str, positions)), "wait": 30}


async def test_events_are_found_by_what_they_are_about(told: dict[str, Any], get: Get) -> None:
    """The questions of an audit; an outcome is found by its aggregate, which it names only in its key."""
    _, whole, headers = await get("/events/search", **told)
    assert whole["total"] == 6
    assert [event["time"][:16] for event in whole["events"]] == [f"2026-01-31T12:0{n}" for n in range(5, -1, -1)]
    assert "profiles/" in headers["x-position"]
    first = whole["events"][-1]
    assert (first["user_id"], first["actor"], first["correlation_id"]) == ("u1", "web", "one")

    for asked, found in [
        ({"user_id": "u1"}, 3),
        ({"item_id": "i1"}, 1),
        ({"model": "movies"}, 1),
        ({"type": "UserRegistered"}, 2),
        ({"type": "retrace.catalog.ItemAdded"}, 1),
        ({"topic": "profiles", "actor": "web"}, 1),
        ({"correlation_id": "one"}, 2),
        ({"since": minute(1).isoformat(), "until": minute(3).isoformat()}, 2),
        ({"id": first["id"]}, 1),
        ({"user_id": "nobody"}, 0),
    ]:
        assert (await get("/events/search", **asked))[1]["total"] == found, asked


async def test_nothing_personal_is_indexed(told: dict[str, Any], get: Get) -> None:
    """An index is a copy that an erasure would have to know of."""
    _, whole, _ = await get("/events/search", **told)
    assert "Ana" not in str(whole)


async def test_pages_of_events_hold_while_events_are_written(log: Decided, told: dict[str, Any], get: Get) -> None:
    """What is newer than the first page comes into no later one."""
    _, page, _ = await get("/events/search", limit=2, **told)
    seen = [event["id"] for event in page["events"]]
    at = await log.append(UserRegistered(user_id="u9"), time=minute(9))
    _, newest, _ = await get("/events/search", limit=1, **{"min-position": str(at), "wait": 30})
    while page["next"]:
        _, page, _ = await get("/events/search", limit=2, cursor=page["next"])
        seen += [event["id"] for event in page["events"]]
    assert len(seen) == len(set(seen)) == 6
    assert newest["events"][0]["id"] not in seen


async def test_what_is_not_searched_is_refused_by_name(told: dict[str, Any], get: Get) -> None:
    """An empty answer would say that nothing happened."""
    _, page, _ = await get("/events/search", limit=1, **told)
    for asked, code, told_of in [
        ({"type": "UserRegistred"}, "unknown_type", "UserRegistered"),
        ({"topic": "interactions"}, "unknown_topic", "/interactions/search"),
        ({"topic": "nothing"}, "unknown_topic", "profiles"),
        ({"cursor": page["next"], "user_id": "u1"}, "cursor_of_another_query", "cursor"),
        ({"user": "u1"}, "unknown_parameter", "user_id"),
    ]:
        status, problem, _ = await get("/events/search", **asked)
        assert (status, problem["code"]) == (422, code), asked
        assert told_of in problem["detail"]


async def test_decisions_come_in_pages(log: Decided, writer: FactWriter, get: Get) -> None:
    """By user, item, model, id and time; all of one moment too."""
    decisions = [replace(served(f"d{n}"), served_at=minute(n // 3), user_id=f"u{n % 2}") for n in range(7)]
    placed = [await writer.append(one, meta_of(one, one.user_id)) for one in decisions]
    fresh = {"min-position": ",".join(map(str, placed)), "wait": 30}
    _, page, _ = await get("/decisions/search", limit=2, **fresh)
    assert page["total"] == 7
    seen = [one["decision_id"] for one in page["decisions"]]
    while page["next"]:
        _, page, _ = await get("/decisions/search", limit=2, cursor=page["next"])
        seen += [one["decision_id"] for one in page["decisions"]]
    assert seen == ["d6", "d3", "d4", "d5", "d0", "d1", "d2"]
    assert (await get("/decisions/search", user_id="u1"))[1]["total"] == 3
    assert (await get("/decisions/search", decision_id="d4"))[1]["total"] == 1
    assert (await get("/decisions/search", since=minute(1).isoformat()))[1]["total"] == 4
