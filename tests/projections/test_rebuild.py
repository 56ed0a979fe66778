"""Rebuilds on real servers: they can be killed, paused and cancelled, and nobody notices the switch."""

import asyncio
import contextlib
import random
import sys
from contextlib import suppress
from dataclasses import replace
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from psycopg import AsyncConnection, IsolationLevel
from uuid6 import uuid7

from infra.elastic import index_name, make_elastic
from infra.kafka.connect import aiokafka_options
from infra.kafka.facts import FactWriter
from infra.kafka.ranges import ranges_now
from infra.kafka.records import Decoder
from infra.postgres import connect
from infra.settings import Settings, child_environment
from projections import checkpoint, rebuild, swap
from projections.attempt import Attempt, Attempts
from projections.documents import Documents
from projections.testing import minute
from projections.view import Projection
from projections.views import decisions_search, popularity, user_history
from schemas.envelope import Meta
from schemas.errors import Rejected
from schemas.interactions import InteractionRecorded
from schemas.profiles import UserErased

from .conftest import Get, Running, StartProjector, eventually
from .telling import Decided
from .test_view_results import served

pytestmark = pytest.mark.long

Database = AsyncConnection[dict[str, Any]]

TOTAL = "SELECT coalesce(sum(next_offset), 0) FROM projection_offsets WHERE view = '{}'"
LEFT = """
    SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
    WHERE nspname = current_schema() AND relname ~ '^(user_history|popularity)_v1_[0-9a-f]{8}' ORDER BY relname
"""

WORKS = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'retrace rebuild fold'"


def viewed(user: str, item: str = "a") -> InteractionRecorded:
    return InteractionRecorded(user_id=user, item_id=item, kind="view", occurred_at=minute(0))


async def append(writer: FactWriter, count: int, item: str = "a") -> None:
    events = [viewed(f"u{n % 97}", f"{item}{n % 7}") for n in range(count)]
    metas = [Meta(id=uuid7(), type=e.AVRO, source="test", subject=e.user_id, time=minute(0)) for e in events]
    await writer.append_all(list(zip(events, metas, strict=True)))


async def decide(writer: FactWriter, *numbers: int) -> None:
    events = [served(f"d{number}") for number in numbers]
    metas = [Meta(id=uuid7(), type=e.AVRO, source="test", subject=e.user_id, time=minute(0)) for e in events]
    await writer.append_all(list(zip(events, metas, strict=True)))


async def column(database: Database, query: str) -> list[Any]:
    return [next(iter(row.values())) async for row in await database.execute(query.encode())]


async def reached(database: Database, projection: Projection, count: int) -> None:
    """Wait until the live read model has seen so many records."""

    async def check() -> bool:
        return bool(await column(database, TOTAL.format(projection.name)) == [count])

    await eventually(check)


@pytest.fixture
async def filled(database: Database, writer: FactWriter, projector: StartProjector) -> Running:
    """A projector that has folded 2 000 interactions and goes on."""
    await append(writer, 2_000)
    running = projector(user_history.VIEW, popularity.VIEW)
    await reached(database, user_history.VIEW, 2_000)
    await reached(database, popularity.VIEW, 2_000)
    return running


def slowly(settings: Settings, projection: Projection) -> "asyncio.Task[Attempt]":
    """A rebuild in this process that takes seconds."""
    return asyncio.create_task(rebuild.rebuild(settings, projection, rate=200))


async def under_way(database: Database, view: str, *, folded: int = 1) -> Attempt:
    """The rebuild of a view, once it has read so much."""

    async def check() -> Attempt | None:
        found = await Attempts(database).all(view)
        return found[0] if found and found[0].folded >= folded else None

    attempt: Attempt = await eventually(check)
    return attempt


async def test_a_killed_rebuild_goes_on_where_it_was(settings: Settings, database: Database, filled: Running) -> None:
    """A rebuild of days must survive the machine it runs on, and not begin again."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "console", "projections", "rebuild", "user_history", "--rate", "300"),
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
        await eventually(lambda process=process: _works(database, process))  # type: ignore[misc]
        await asyncio.sleep(chance.uniform(0, 0.6))
        with suppress(ProcessLookupError):  # it may have come to its end
            process.kill()
        await process.wait()
        await append(writer, 100)
    await reached(database, user_history.VIEW, 2_500)
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
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working
    assert (await under_way(database, "popularity")).state == "paused"


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


async def test_a_rollback_brings_back_the_old_one_with_all_that_came_since(
    settings: Settings, database: Database, writer: FactWriter, filled: Running
) -> None:
    """Going back must not lose what happened after the switch; forward again, neither."""
    await database.execute("UPDATE popularity_v1 SET interactions = interactions + 1000000 WHERE item_id = 'a3'")
    attempt = await rebuild.rebuild(settings, popularity.VIEW)
    assert attempt.comparison is not None
    assert not attempt.comparison.equal
    total = "SELECT sum(interactions) FROM popularity"
    await append(writer, 500, item="b")
    await reached(database, popularity.VIEW, 2_500)
    assert await column(database, total) == [2_500]
    assert (await rebuild.rollback(settings, popularity.VIEW)).state == "rolled_back"
    assert await column(database, total) == [1_002_500]
    await append(writer, 500, item="c")
    await reached(database, popularity.VIEW, 3_000)
    assert await column(database, total) == [1_003_000]
    assert (await rebuild.switch(settings, popularity.VIEW)).state == "switched"
    assert await column(database, total) == [3_000]
    assert (await rebuild.verify(settings, popularity.VIEW)).equal
    tables = LEFT.replace("WHERE", "WHERE relkind = 'r' AND")
    assert len(await column(database, tables)) == 2
    assert await rebuild.retire(settings, popularity.VIEW) == [attempt.target]
    assert await column(database, tables) == []


async def test_readers_never_fail_nor_see_less_than_their_checkpoints_say(
    settings: Settings, database: Database, writer: FactWriter, filled: Running
) -> None:
    """The whole point: whoever reads, and whoever writes, does not notice."""
    stop = asyncio.Event()
    readers = [asyncio.create_task(_read(settings, level, stop)) for level in (*IsolationLevel,) for _ in range(2)]
    writing = asyncio.create_task(_write(writer, stop))
    await rebuild.rebuild(settings, user_history.VIEW)
    for _ in range(3):
        await rebuild.rollback(settings, user_history.VIEW)
        await rebuild.switch(settings, user_history.VIEW)
    stop.set()
    reads = await asyncio.gather(*readers)
    await reached(database, user_history.VIEW, 2_000 + await writing)
    assert min(reads) > 10
    assert (await rebuild.verify(settings, user_history.VIEW)).equal


async def _read(settings: Settings, level: IsolationLevel, stop: asyncio.Event) -> int:
    """Read again and again; in a snapshot the rows are as many as the checkpoints say."""
    reads = 0
    exact = level in (IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE)
    async with await connect(settings, "test reader") as connection:
        await connection.set_isolation_level(level)
        await connection.set_read_only(True)
        while not stop.is_set():
            async with connection.transaction():
                (said,) = await column(connection, TOTAL.format("user_history"))
                (rows,) = await column(connection, "SELECT count(*) FROM user_history")
            assert rows == said if exact else rows >= said
            reads += 1
            await asyncio.sleep(0.01)
    return reads


async def _write(writer: FactWriter, stop: asyncio.Event) -> int:
    written = 0
    while not stop.is_set():
        await append(writer, 20)
        written += 20
        await asyncio.sleep(0.02)
    return written


async def test_a_switch_waits_for_whoever_has_been_reading(
    settings: Settings, database: Database, filled: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report that began before the switch would find rows missing in the new table; it is waited for."""
    monkeypatch.setattr(swap, "PATIENCE_S", 0.5)
    await rebuild.rebuild(settings, user_history.VIEW, switches=False)
    async with await connect(settings, "report") as report:
        await report.set_isolation_level(IsolationLevel.REPEATABLE_READ)
        async with report.transaction():
            await column(report, TOTAL.format("user_history"))
            with pytest.raises(swap.StillRead, match="transaction open since"):
                await rebuild.switch(settings, user_history.VIEW)
    assert (await rebuild.switch(settings, user_history.VIEW)).state == "switched"


async def test_a_switch_does_not_stand_in_the_way_of_queries(
    settings: Settings, database: Database, filled: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Queries queue behind whoever waits for a lock: one long query and a patient switch would stop them all."""
    monkeypatch.setattr(swap, "PATIENCE_S", 1.5)
    await rebuild.rebuild(settings, user_history.VIEW, switches=False)
    async with await connect(settings, "report") as report, report.transaction():
        await column(report, "SELECT count(*) FROM user_history")  # reads committed: holds a lock, and no snapshot
        switching = asyncio.create_task(rebuild.switch(settings, user_history.VIEW))
        while not switching.done():
            await database.execute("SET statement_timeout = '900ms'")
            assert await column(database, "SELECT count(*) FROM user_history") == [2_000]
        with pytest.raises(swap.StillRead, match="without a pause"):
            await switching
    assert (await rebuild.switch(settings, user_history.VIEW)).state == "switched"


async def test_earlier_versions_are_removed_when_a_later_one_is_shown(
    settings: Settings, database: Database, writer: FactWriter, projector: StartProjector, filled: Running
) -> None:
    """A disk fills with tables that nobody reads; the one that is read must not be among those removed."""
    await filled.stop()
    later = replace(popularity.VIEW, version=2)
    with pytest.raises(Rejected):
        await rebuild.retire(settings, later)
    projector(later)
    shown = "SELECT obj_description(oid) FROM pg_class WHERE oid = to_regclass('popularity')"
    await eventually(lambda: _says(database, shown, "2"))
    assert await rebuild.retire(settings, later) == ["popularity_v1", "popularity_v1_seen"]
    assert await column(database, "SELECT sum(interactions) FROM popularity") == [2_000]
    assert await column(database, "SELECT DISTINCT version FROM projection_offsets WHERE view = 'popularity'") == [2]


async def _says(database: Database, query: str, value: object) -> bool:
    return await column(database, query) == [value]


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


async def test_a_rebuild_tells_nobody(
    settings: Settings, database: Database, writer: FactWriter, filled: Running
) -> None:
    """Waiting queries would take its progress for that of the live one; its dead letters have been written before."""
    before = await _letters(settings)
    async with await connect(settings, "listener") as listener:
        await listener.execute(f"LISTEN {checkpoint.channel(settings.postgres.db_schema)}".encode())
        await rebuild.rebuild(settings, user_history.VIEW)
        assert [note async for note in listener.notifies(timeout=0.5)] == []
    assert await _letters(settings) == before


async def _letters(settings: Settings) -> Any:
    return await ranges_now(settings, ["dead-letters"])


async def test_an_index_is_switched_and_rolled_back(
    settings: Settings, database: Database, writer: FactWriter, projector: StartProjector
) -> None:
    """The same for Elasticsearch: the alias moves, the old index is kept, and has what came since when it returns."""
    view = decisions_search.INDEX
    projector(view)
    await decide(writer, *range(20))
    await reached(database, view, 20)
    async with make_elastic(settings) as client:
        await client.delete(index=index_name(settings, view.name), id="d3", refresh=True)
        attempt = await rebuild.rebuild(settings, view)
        comparison = attempt.comparison
        assert comparison is not None
        assert (comparison.live_rows, comparison.fresh_rows) == (19, 20)
        assert [(one.side, orjson.loads(one.row)["_id"]) for one in comparison.sample] == [("fresh", "d3")]
        await decide(writer, 20)
        await reached(database, view, 21)
        assert await _found(settings) == 21
        await rebuild.rollback(settings, view)
        assert await _found(settings) == 20
        await rebuild.switch(settings, view)
        assert (await rebuild.verify(settings, view)).equal
        await rebuild.retire(settings, view)
        assert len(await client.indices.get(index=index_name(settings, f"{view.physical}_*"))) == 1


async def test_an_alias_that_was_switched_by_a_killed_process_is_put_on_record(
    settings: Settings, database: Database, writer: FactWriter, projector: StartProjector
) -> None:
    """Elasticsearch and PostgreSQL do not commit together; the live index must never be cancelled away."""
    view = decisions_search.INDEX
    projector(view)
    await decide(writer, *range(5))
    await reached(database, view, 5)
    attempt = await rebuild.rebuild(settings, view, switches=False)
    assert attempt.target is not None
    async with make_elastic(settings) as client:
        live = Documents(view, settings, client)
        await Attempts(database).set(attempt.id, counterpart=await live.live())
        await live.give_way(attempt.target)
    with pytest.raises(Rejected):
        await rebuild.cancel(settings, view)
    (found,) = await Attempts(database).all(view.name)
    assert found.state == "switched"
    await decide(writer, 5)
    await reached(database, view, 6)
    assert (await rebuild.rollback(settings, view)).state == "rolled_back"
    assert (await rebuild.verify(settings, view)).equal


async def test_a_cancelled_rebuild_leaves_no_index(
    settings: Settings, database: Database, writer: FactWriter, projector: StartProjector
) -> None:
    """As in PostgreSQL."""
    view = decisions_search.INDEX
    projector(view)
    await decide(writer, *range(5))
    await reached(database, view, 5)
    await rebuild.rebuild(settings, view, switches=False)
    await rebuild.cancel(settings, view)
    async with make_elastic(settings) as client:
        assert len(await client.indices.get(index=index_name(settings, f"{view.physical}_*"))) == 1
    assert await _found(settings) == 5


async def _found(settings: Settings) -> int:
    async with make_elastic(settings) as client:
        answer = await client.count(index=index_name(settings, decisions_search.INDEX.name))
        return int(answer["count"])


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


async def test_an_erasure_reaches_what_rests_and_what_is_kept(
    settings: Settings, database: Database, decoder: Decoder, filled: Running
) -> None:
    """Somebody who was erased may be in no table that is only kept for going back."""
    await rebuild.rebuild(settings, user_history.VIEW)
    await rebuild.rebuild(settings, user_history.VIEW, switches=False)
    tables = await column(database, LEFT.replace("WHERE", "WHERE relname !~ '_seen' AND relkind = 'r' AND"))
    assert len(tables) == 2
    async with AIOKafkaProducer(**aiokafka_options(settings.kafka)) as producer:
        await Decided(settings, decoder, producer).append(UserErased(user_id="u1", reason="asked"))
    query = "SELECT count(*) FROM {} WHERE user_id = 'u1'"
    await eventually(lambda: _says(database, query.format("user_history"), 0))
    for table in tables:
        assert await column(database, query.format(table)) == [0]
    await rebuild.switch(settings, user_history.VIEW)
    assert (await rebuild.verify(settings, user_history.VIEW)).equal
