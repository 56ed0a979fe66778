"""Rebuilds on real servers: they can be killed, paused and cancelled, and leave nothing behind."""

import asyncio
import contextlib
import random
import sys
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import orjson
import pytest

from infra.ending import ended
from infra.kafka.facts import FactWriter
from infra.settings import Settings, child_environment
from projections import rebuild
from projections.attempt import Attempts
from projections.views import popularity, user_history
from schemas.errors import Rejected

from ..eventually import eventually
from .conftest import Get
from .rebuilding import HELD, LEFT, Database, append, column, reached, says, slowly, under_way
from .running import Running

pytestmark = pytest.mark.long

WORKS = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'retrace rebuild fold'"


async def test_a_killed_rebuild_goes_on_where_it_was(settings: Settings, database: Database, filled: Running) -> None:
    """A rebuild of days must survive the machine it runs on, and not begin again."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "console", "projections", "rebuild", "user_history", "--rate", "50"),
        env=child_environment(settings),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        before = await under_way(database, "user_history")
    finally:
        process.kill()
        await process.wait()
    assert 0 < before.folded < 2_000
    await eventually(lambda: says(database, HELD, 0))
    seen: list[int] = []
    attempt = await rebuild.resume(settings, user_history.VIEW, lambda done, _: seen.append(done), rate=100_000)
    assert seen[0] > before.folded
    assert attempt.state == "switched"
    assert attempt.comparison is not None
    assert (attempt.comparison.equal, attempt.comparison.fresh_rows) == (True, 2_000)
    assert (await rebuild.verify(settings, user_history.VIEW)).equal


async def test_a_rebuild_that_is_killed_again_and_again_comes_to_the_same(
    settings: Settings, database: Database, writer: FactWriter, filled: Running
) -> None:
    """At whatever instruction a process dies, also in the middle of a switch, the next one goes on from there."""
    chance = random.Random(5)
    await Attempts(database).prepare()
    for _ in range(5):
        found = await Attempts(database).under_way("user_history")
        verb = "rebuild" if found is None else "switch" if found.state == "ready" else "resume"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "console", "projections", verb, "user_history"),
            env=child_environment(settings),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        works = partial(_works, database, process)
        await eventually(works, within_s=60)
        await asyncio.sleep(chance.uniform(0, 0.6))
        with suppress(ProcessLookupError):  # it may have come to its end
            process.kill()
        await process.wait()
        await append(writer, 100)
    await reached(database, user_history.VIEW, 2_500)
    await eventually(lambda: says(database, HELD, 0))
    if (found := await Attempts(database).under_way("user_history")) is not None:
        await (rebuild.switch if found.state == "ready" else rebuild.resume)(settings, user_history.VIEW)
    assert await column(database, "SELECT count(*) FROM user_history") == [2_500]
    assert (await rebuild.verify(settings, user_history.VIEW)).equal


async def _works(database: Database, process: asyncio.subprocess.Process) -> bool:
    """Whether it has begun to fold, or has ended already."""
    return process.returncode is not None or bool(await column(database, WORKS))


async def test_a_paused_rebuild_is_resumed(settings: Settings, database: Database, filled: Running) -> None:
    """Whoever is on call takes the load away at once, from any terminal, and loses nothing."""
    working = slowly(settings, popularity.VIEW)
    await under_way(database, "popularity")
    paused = await rebuild.pause(settings, popularity.VIEW)
    assert paused.state == "paused"
    assert 0 < paused.folded < 2_000
    assert (await working).state == "paused"
    attempt = await rebuild.resume(settings, popularity.VIEW, rate=100_000)
    assert (attempt.id, attempt.state) == (paused.id, "switched")
    assert attempt.comparison is not None
    assert attempt.comparison.equal


async def test_an_interrupted_rebuild_is_paused(settings: Settings, database: Database, filled: Running) -> None:
    """Ctrl-C throws nothing away."""
    working = slowly(settings, popularity.VIEW)
    await under_way(database, "popularity")
    await ended(working)
    await eventually(lambda: says(database, "SELECT state FROM projection_rebuilds", "paused"))


@pytest.mark.parametrize("state", ["running", "paused", "ready"])
async def test_a_cancelled_rebuild_leaves_nothing(
    settings: Settings, database: Database, filled: Running, state: str
) -> None:
    """No table, no index, no row: a disk must not fill with what nobody needs."""
    if state == "ready":
        working = asyncio.create_task(rebuild.rebuild(settings, user_history.VIEW, switches=False))
        await working
    else:
        working = slowly(settings, user_history.VIEW)
        await under_way(database, "user_history")
    if state == "paused":
        await rebuild.pause(settings, user_history.VIEW)
    assert await column(database, LEFT)
    await rebuild.cancel(settings, user_history.VIEW)
    if state == "running":
        with pytest.raises(Rejected, match="cancelled"):
            await working
    for query in (LEFT, "SELECT id FROM projection_rebuilds", "SELECT rebuild FROM projection_rebuild_offsets"):
        assert await column(database, query) == []
    assert await column(database, "SELECT count(*) FROM user_history") == [2_000]


async def test_a_verification_that_is_cut_off_leaves_nothing(
    settings: Settings, database: Database, filled: Running
) -> None:
    """It is only a question."""
    working = asyncio.create_task(rebuild.verify(settings, user_history.VIEW))
    await under_way(database, "user_history", folded=0)
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working
    assert await column(database, LEFT) == []
    assert await column(database, "SELECT id FROM projection_rebuilds") == []


async def test_a_verification_that_is_cut_off_before_it_has_a_table_leaves_nothing(
    settings: Settings, database: Database, filled: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks at the rebuilds would see one that nobody works on."""

    async def cut_off(*_: object, **__: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(Attempts, "set", cut_off)
    with pytest.raises(asyncio.CancelledError):
        await rebuild.verify(settings, user_history.VIEW)
    assert await column(database, "SELECT id FROM projection_rebuilds") == []


async def test_what_makes_no_sense_is_refused(settings: Settings, database: Database, filled: Running) -> None:
    """A mistyped command must not start anything, and must say what to do."""
    view = popularity.VIEW
    for verb, code in (
        (rebuild.pause, "no_rebuild_running"),
        (rebuild.resume, "no_rebuild"),
        (rebuild.cancel, "no_rebuild"),
        (rebuild.switch, "no_rebuild_ready"),
        (rebuild.rollback, "nothing_kept"),
        (rebuild.retire, "nothing_kept"),
    ):
        with pytest.raises(Rejected) as refused:
            await verb(settings, view)
        assert refused.value.code == code
    await rebuild.rebuild(settings, view, switches=False)
    with pytest.raises(Rejected, match="under way already"):
        await rebuild.rebuild(settings, view)
    with pytest.raises(Rejected, match="is ready"):
        await rebuild.resume(settings, view)
    with pytest.raises(Rejected, match="declaration of popularity has changed"):
        await rebuild.switch(settings, replace(view, apply=view.apply + " -- mended"))


async def test_two_do_not_work_on_one_read_model(settings: Settings, database: Database, filled: Running) -> None:
    """Neither would know what the other has folded."""
    working = slowly(settings, popularity.VIEW)
    await under_way(database, "popularity")
    for verb in (rebuild.rebuild, rebuild.resume, rebuild.verify):
        with pytest.raises(Rejected, match="by another process"):
            await verb(settings, popularity.VIEW)
    await rebuild.cancel(settings, popularity.VIEW)
    await asyncio.gather(working, return_exceptions=True)


async def test_what_is_gone_is_folded_again(settings: Settings, database: Database, filled: Running) -> None:
    """Checkpoints without their table would make half a read model that says it is whole."""
    working = slowly(settings, popularity.VIEW)
    attempt = await under_way(database, "popularity")
    await rebuild.pause(settings, popularity.VIEW)
    await working
    await database.execute(f"DROP TABLE {attempt.target}, {attempt.target}_seen".encode())
    resumed = await rebuild.resume(settings, popularity.VIEW, rate=100_000)
    assert resumed.comparison is not None
    assert resumed.comparison.equal


async def test_rebuilds_are_seen_over_http(settings: Settings, database: Database, filled: Running, get: Get) -> None:
    """Whoever waits for one need not sit at the terminal that began it."""
    attempt = await rebuild.rebuild(settings, popularity.VIEW)
    status, found, _ = await get("/projections/popularity/rebuilds")
    assert status == 200
    assert [(one["id"], one["state"], one["comparison"]["equal"]) for one in found] == [(attempt.id, "switched", True)]
    status, problem, _ = await get("/projections/nonsense/rebuilds")
    assert (status, problem["code"]) == (404, "unknown_projection")


async def test_the_command_line_says_what_it_did(settings: Settings, database: Database, filled: Running) -> None:
    """Scripts read status and JSON; a read model that differs is no success."""
    await database.execute("DELETE FROM popularity_v1 WHERE item_id = 'a1'")
    assert (await _retrace(settings, "rebuild", "nonsense"))[0] == 1
    status, told = await _retrace(settings, "rebuild", "popularity", "--no-switch", "-o", "json")
    assert (status, told["state"], told["comparison"]["equal"]) == (1, "ready", False)
    assert (await _retrace(settings, "switch", "popularity", "-o", "json"))[1]["state"] == "switched"
    status, (told,) = await _retrace(settings, "verify", "popularity", "-o", "json")
    assert (status, told["equal"]) == (0, True)
    assert [one["state"] for one in (await _retrace(settings, "rebuilds", "-o", "json"))[1]] == ["switched"]


async def _retrace(settings: Settings, *arguments: str) -> tuple[int, Any]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "console", "projections", *arguments),
        env=child_environment(settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    told, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, orjson.loads(told) if told else None
