"""Kafka has deleted the beginning of the log: read models are folded from the archive on, or not at all."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from psycopg import AsyncConnection

from infra.archive import create
from infra.kafka.facts import FactWriter
from infra.kafka.topics import physical
from infra.settings import Settings, child_environment
from projections import rebuild
from projections.attempt import Attempts
from projections.views import popularity, user_history
from schemas.errors import Incompatible

from ..cutting import archived, cut, with_archive
from ..eventually import eventually
from .rebuilding import append, column, reached
from .running import Running, StartProjector

Database = AsyncConnection[dict[str, Any]]
TOPIC = "interactions"


@pytest.fixture
def settings(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """With an archive and a notary of its own, whose files are small."""
    monkeypatch.setattr(create, "FILE_RECORDS", 150)
    return with_archive(settings, tmp_path)


async def test_a_rebuild_reads_archive_and_tail(
    settings: Settings, database: Database, writer: FactWriter, projector: StartProjector
) -> None:
    """The live read model has seen all of the log; what is folded anew must come to the same."""
    await append(writer, 2_000)
    projector(user_history.VIEW)
    await reached(database, user_history.VIEW, 2_000)
    await archived(settings, TOPIC)
    await cut(settings, TOPIC, lambda end: max(end - 5, 0))
    await append(writer, 300)  # a tail that only Kafka has
    await reached(database, user_history.VIEW, 2_300)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "console", "projections", "rebuild", "user_history"), env=child_environment(settings)
    )
    assert await process.wait() == 0
    (attempt,) = await Attempts(database).all("user_history")
    assert attempt.comparison is not None
    assert (attempt.state, attempt.comparison.equal, attempt.comparison.fresh_rows) == ("switched", True, 2_300)


async def test_a_projection_that_starts_from_nothing_reads_archive_and_tail(
    settings: Settings, database: Database, writer: FactWriter, projector: StartProjector
) -> None:
    """A new read model knows of every event, wherever it stands, and then of every new one."""
    await append(writer, 1_000)
    await archived(settings, TOPIC)
    await cut(settings, TOPIC)
    await append(writer, 200)
    projector(user_history.VIEW, popularity.VIEW)
    await reached(database, user_history.VIEW, 1_200)
    await reached(database, popularity.VIEW, 1_200)
    assert await column(database, "SELECT count(*) FROM user_history") == [1_200]
    assert await column(database, "SELECT sum(interactions)::int FROM popularity") == [1_200]
    await append(writer, 100)
    await reached(database, user_history.VIEW, 1_300)
    assert await column(database, "SELECT count(*) FROM user_history") == [1_300]


async def test_without_the_archive_nothing_is_folded_and_the_cause_is_one_sentence(
    settings: Settings, database: Database, writer: FactWriter, projector: StartProjector
) -> None:
    """To begin where Kafka begins now would be a read model that has skipped events and says nothing."""
    await append(writer, 500)
    live = projector(user_history.VIEW)
    await reached(database, user_history.VIEW, 500)
    await live.stop()
    await cut(settings, TOPIC, lambda end: max(end - 5, 0))
    with pytest.raises(Incompatible, match="is neither in Kafka nor in the archive") as caught:
        await rebuild.rebuild(settings, user_history.VIEW)
    assert "RETRACE_ARCHIVE" in caught.value.detail
    assert "\n" not in caught.value.detail
    (attempt,) = await Attempts(database).all("user_history")
    assert (attempt.state, attempt.folded) == ("failed", 0)
    assert await column(database, "SELECT count(*) FROM user_history") == [500], "the live one is as it was"
    new = projector(popularity.VIEW)
    await eventually(lambda: _stopped(new))
    assert await column(database, "SELECT count(*) FROM popularity") == [0]
    assert await column(database, "SELECT sum(next_offset)::int FROM projection_offsets WHERE view = 'popularity'") == [
        0
    ]


async def _stopped(running: Running) -> bool:
    states = [one for name, one in running.health.components.items() if "popularity" in name]
    return bool(states) and any("neither in Kafka nor in the archive" in str(one) for one in states)


async def test_a_damaged_file_stops_the_fold_and_names_itself(
    settings: Settings, database: Database, writer: FactWriter, projector: StartProjector, tmp_path: Path
) -> None:
    """Neither is a part of the log left out because its file cannot be read; once it is back the rebuild goes on."""
    await append(writer, 1_000)
    projector(user_history.VIEW)
    await reached(database, user_history.VIEW, 1_000)
    await archived(settings, TOPIC)
    await cut(settings, TOPIC)
    victim = sorted((tmp_path / "archive" / physical(settings, TOPIC) / "0").glob("*.parquet"))[-1]
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-9])
    with pytest.raises(Incompatible, match=victim.name):
        await rebuild.rebuild(settings, user_history.VIEW)
    victim.write_bytes(whole)
    attempt = await rebuild.resume(settings, user_history.VIEW)
    assert attempt.comparison is not None
    assert (attempt.state, attempt.comparison.equal, attempt.comparison.fresh_rows) == ("switched", True, 1_000)
