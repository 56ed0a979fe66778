"""The switch to what was rebuilt, and back: nobody who reads or writes notices it."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from psycopg import IsolationLevel

from infra.kafka.connect import aiokafka_options
from infra.kafka.facts import FactWriter
from infra.kafka.ranges import ranges_now
from infra.kafka.records import Decoder
from infra.postgres import connect
from infra.settings import Settings
from projections import checkpoint, rebuild, swap
from projections.views import popularity, user_history
from schemas.errors import Rejected
from schemas.profiles import UserErased

from ..eventually import eventually
from .rebuilding import LEFT, TOTAL, Database, append, column, reached, says
from .running import Running, StartProjector
from .telling import Decided

pytestmark = pytest.mark.long


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
    assert min(reads) > 1
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
    await rebuild.rebuild(settings, user_history.VIEW, switches=False)
    async with await connect(settings, "report") as report:
        await report.set_isolation_level(IsolationLevel.REPEATABLE_READ)
        with monkeypatch.context() as hasty:
            hasty.setattr(swap, "PATIENCE_S", 0.5)
            async with report.transaction():
                await column(report, TOTAL.format("user_history"))
                with pytest.raises(swap.StillRead, match="transaction open since"):
                    await rebuild.switch(settings, user_history.VIEW)
    assert (await rebuild.switch(settings, user_history.VIEW)).state == "switched"


async def test_a_switch_does_not_stand_in_the_way_of_queries(
    settings: Settings, database: Database, filled: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Queries queue behind whoever waits for a lock: one long query and a patient switch would stop them all."""
    await rebuild.rebuild(settings, user_history.VIEW, switches=False)
    monkeypatch.setattr(swap, "PATIENCE_S", 5.0)
    async with await connect(settings, "report") as report, report.transaction():
        await column(report, "SELECT count(*) FROM user_history")  # reads committed: holds a lock, and no snapshot
        switching = asyncio.create_task(rebuild.switch(settings, user_history.VIEW))
        while not switching.done():
            await database.execute("SET statement_timeout = '4s'")
            assert await column(database, "SELECT count(*) FROM user_history") == [2_000]
        with pytest.raises(swap.StillRead, match="without a pause"):
            await switching
    monkeypatch.setattr(swap, "PATIENCE_S", 60.0)
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
    await eventually(lambda: says(database, shown, "2"))
    assert await rebuild.retire(settings, later) == ["popularity_v1", "popularity_v1_seen"]
    assert await column(database, "SELECT sum(interactions) FROM popularity") == [2_000]
    assert await column(database, "SELECT DISTINCT version FROM projection_offsets WHERE view = 'popularity'") == [2]


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
    await eventually(lambda: says(database, query.format("user_history"), 0))
    for table in tables:
        assert await column(database, query.format(table)) == [0]
    await rebuild.switch(settings, user_history.VIEW)
    assert (await rebuild.verify(settings, user_history.VIEW)).equal
