"""Dead letters over HTTP and on the command line: found, explained, counted before anything is done, and mended."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from psycopg import AsyncConnection
from uuid6 import uuid7

from commands.api.app import create_app as create_commands
from infra.health import Health
from infra.http import QuietServer, install, server_config
from infra.kafka.deadletters import DeadLetters
from infra.kafka.facts import FactWriter
from infra.kafka.ranges import ranges_now
from infra.kafka.records import Decoder, Raw
from infra.settings import HttpSettings, Settings, child_environment
from projections.api import create_app as create_queries
from projections.testing import minute
from projections.views import dead_letter_requests, dead_letters, user_history, user_profile
from schemas.envelope import Meta
from schemas.errors import Incompatible
from schemas.profiles import UserRegistered
from schemas.topics import TOPICS

from ..eventually import eventually
from .conftest import Get
from .running import StartProjector
from .telling import ready
from .test_parking import looked
from .test_projector import send_raw

Database = AsyncConnection[dict[str, Any]]
VIEWS = (user_history.VIEW, dead_letters.VIEW, dead_letter_requests.VIEW)
NUL = "nul\x00"


async def listed(get: Get, number: int, **filters: str) -> list[dict[str, Any]]:
    """Dead letters, once there are so many."""

    async def check() -> Any:
        status, found, _ = await get("/dead-letters", **filters)
        return found["dead_letters"] if status == 200 and len(found["dead_letters"]) >= number else None

    found: list[dict[str, Any]] = await eventually(check)
    assert len(found) == number
    return found


async def test_a_letter_tells_why_and_what_waits_behind_it(
    database: Database, writer: FactWriter, projector: StartProjector, get: Get
) -> None:
    """Whoever is called at night has to understand it from this one answer."""
    projector(*VIEWS)
    positions = await looked(writer, "ana", "a", NUL, "b")
    await looked(writer, "eva", NUL)
    await listed(get, 2, view="user_history", state="parked")
    (letter,) = await listed(get, 1, key="ana")
    await eventually(lambda: _waits(get, letter["letter_id"], 1))
    _, shown, _ = await get(f"/dead-letters/{letter['letter_id']}")
    assert (shown["position"], shown["state"], shown["code"]) == (positions[1], "parked", "does_not_fit_view")
    assert shown["behind"] == [positions[2]]
    assert shown["record"]["event"] == "retrace.interactions.InteractionRecorded"
    assert shown["record"]["fields"]["item_id"] == NUL
    assert shown["record"]["headers"]["ce_subject"] == "ana"
    assert [one["event"] for one in shown["history"]] == ["RecordDeadLettered"]
    _, causes, _ = await get("/dead-letters/causes", view="user_history")
    assert [(one["code"], one["records"], one["keys"]) for one in causes] == [("does_not_fit_view", 2, 2)]


async def test_lists_come_in_pages(database: Database, writer: FactWriter, projector: StartProjector, get: Get) -> None:
    """A bad day leaves thousands of letters."""
    projector(*VIEWS)
    for user in ("ana", "eva", "ida"):
        await looked(writer, user, NUL)
    await listed(get, 3)
    keys: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        _, page, _ = await get("/dead-letters", limit="2", **cursor)
        keys += [one["key"] for one in page["dead_letters"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert sorted(keys) == ["ana", "eva", "ida"]


async def test_personal_fields_are_not_shown(
    settings: Settings, decoder: Decoder, writer: FactWriter, projector: StartProjector, get: Get
) -> None:
    """Who mends the read side need not know whom it is about."""
    projector(dead_letters.VIEW, dead_letter_requests.VIEW)
    event = UserRegistered(user_id="ana", name="Ana Smith", attributes={"town": "Ulm"})
    meta = Meta(id=uuid7(), type=event.AVRO, source="test", subject="ana", time=minute(0), expected_offset=0)
    value = decoder.codec.encode(event)
    await send_raw(settings, "profiles", "ana", value, meta.headers())
    partition = await _partition(settings, "profiles")
    raw = Raw(TOPICS["profiles"], partition, 0, "ana", value, meta.headers(), 0)
    await DeadLetters(writer).park("user_profile", user_profile.VIEW.version, raw, "does_not_fit_view", "a test")
    (letter,) = await listed(get, 1)
    _, shown, _ = await get(f"/dead-letters/{letter['letter_id']}")
    assert shown["record"]["fields"]["name"] == "<personal>"
    assert "Smith" not in json.dumps(shown)
    assert "Ulm" not in json.dumps(shown)


async def test_letters_of_other_readers_are_listed_and_cannot_be_retried(
    decoder: Decoder, database: Database, writer: FactWriter, projector: StartProjector, get: Get
) -> None:
    """A stream that went on without a record is told plainly: a retry would promise what nobody can do."""
    projector(dead_letters.VIEW, dead_letter_requests.VIEW)
    raw = Raw(TOPICS["interactions"], 0, 7, "ana", b"\x00garbage", [], 0)
    await DeadLetters(writer).write("streams", raw, Incompatible("no schema", code="bad_framing"))
    (letter,) = await listed(get, 1, view="streams")
    assert (letter["state"], letter["code"]) == ("passed", "bad_framing")
    status, problem, _ = await get("/dead-letters/selection", view="streams", all="true")
    assert (status, problem["code"]) == (404, "unknown_projection")
    assert "gone on without" in problem["detail"]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"view": "user_history"}, "bad_selection"),
        ({"view": "user_history", "key": "ana", "all": "true"}, "bad_selection"),
        ({"view": "user_history", "position": "here"}, "bad_position"),
    ],
)
async def test_a_selection_that_says_nothing_is_refused(
    projector: StartProjector, database: Database, get: Get, params: dict[str, str], code: str
) -> None:
    """The same rule as that of the request itself."""
    status, problem, _ = await get("/dead-letters/selection", **params)
    assert (status, problem["code"]) == (422, code)


async def test_the_status_names_what_is_parked(
    database: Database, writer: FactWriter, projector: StartProjector, get: Get
) -> None:
    """The read model runs, so nothing is red; somebody has to see it all the same."""
    running = projector(*VIEWS)
    await looked(writer, "ana", NUL, "b")
    await listed(get, 1)

    async def noted() -> bool:
        return "1 events could not be taken" in running.health.components["user_history"].cause

    async def parked() -> bool:
        _, found, _ = await get("/projections")
        (status,) = [one["parked"] for one in found if one["name"] == "user_history"]
        return (status["poison"], status["waiting"]) == (1, 1)

    await eventually(noted)
    assert running.health.components["user_history"].ok
    await eventually(parked)


async def test_the_command_line_counts_first_and_then_does_it(
    settings: Settings, database: Database, writer: FactWriter, projector: StartProjector, get: Get
) -> None:
    """The whole way: dry run, retry that fails, mend, retry, skip, each through the real services."""
    running = projector(*VIEWS)
    await eventually(lambda: _made(database, user_history.VIEW.physical))
    table = user_history.VIEW.physical
    await database.execute(f"ALTER TABLE {table} ADD CONSTRAINT fits CHECK (item_id <> 'bad')".encode())
    await looked(writer, "ana", "a", "bad", "b")
    await looked(writer, "eva", "bad")
    await listed(get, 2, state="parked")
    async with served(settings) as mine:
        dry = await retrace(mine, "retry", "--view", "user_history", "--all", "--dry-run", "-o", "json")
        assert (dry["poison"], [one["key"] for one in dry["keys"]]) in [(2, ["ana", "eva"]), (2, ["eva", "ana"])]
        failed = await retrace(mine, "retry", "--view", "user_history", "--key", "ana", "--yes", "-o", "json", status=1)
        assert (failed["recovered"], failed["failed"], failed["selection"]) == (0, 1, "key ana")
        await database.execute(f"ALTER TABLE {table} DROP CONSTRAINT fits".encode())
        done = await retrace(mine, "retry", "--view", "user_history", "--key", "ana", "--yes", "-o", "json")
        assert (done["recovered"], done["released"]) == (1, 1)
        options = ("--all", "--yes", "--reason", "a test of the shop", "-o", "json")
        skipped = await retrace(mine, "skip", "--view", "user_history", *options)
        assert (skipped["skipped"], skipped["actor"], skipped["reason"]) == (1, "admin", "a test of the shop")
        for state in ("recovered", "skipped"):
            await listed(get, 1, state=state)
        found = await retrace(mine, "list", "-o", "json")
        states = {one["key"]: one["state"] for one in found["dead_letters"]}
        assert states == {"ana": "recovered", "eva": "skipped"}
        (ana,) = [one for one in found["dead_letters"] if one["key"] == "ana"]
        shown = await retrace(mine, "show", ana["letter_id"], "-o", "json")
        events = ["RecordDeadLettered", "RetryFailed", "RecordRecovered"]
        assert [one["event"] for one in shown["history"]] == events
    rows = await database.execute("SELECT count(*) AS items FROM user_history WHERE user_id = 'ana'")
    assert (await rows.fetchone() or {})["items"] == 3
    await eventually(lambda: ready(running))


@asynccontextmanager
async def served(settings: Settings) -> AsyncIterator[Settings]:
    """The command API and the query API; the settings with their addresses."""
    apis = serving(create_commands, settings, "commands"), serving(create_queries, settings, "queries")
    async with apis[0] as commands, apis[1] as queries:
        yield settings.model_copy(update={"commands": commands, "queries": queries})


@asynccontextmanager
async def serving(create: Any, settings: Settings, name: str) -> AsyncIterator[HttpSettings]:
    """A service in this process; where it is."""
    health = Health(name)
    app: FastAPI = create(settings, health)
    install(app, health)
    server = QuietServer(server_config(app, HttpSettings()))
    task = asyncio.create_task(server.serve())

    async def ready() -> bool:
        return bool(server.started and health.ready)

    try:
        await eventually(ready, within_s=60)
        yield HttpSettings(port=server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        await task


async def retrace(settings: Settings, *arguments: str, status: int = 0) -> Any:
    """`retrace dead-letters ...`; answers its JSON."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "console", "dead-letters", *arguments),
        env=child_environment(settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == status, (out.decode(), err.decode())
    return json.loads(out)


async def _waits(get: Get, letter_id: str, number: int) -> bool:
    _, shown, _ = await get(f"/dead-letters/{letter_id}")
    return bool(shown["waiting"] == number)


async def _made(database: Database, table: str) -> bool:
    rows = await database.execute("SELECT to_regclass(%s) IS NOT NULL AS made", (table,))
    return bool((await rows.fetchone() or {})["made"])


async def _partition(settings: Settings, topic: str) -> int:
    """The only partition of a topic that has a record."""
    (part,) = [one for one in await ranges_now(settings, [topic]) if one.end]
    return part.partition
