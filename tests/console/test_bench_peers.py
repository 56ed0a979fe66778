"""A peer that does less than we do is no comparison: everybody's results are checked against the events."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import psycopg
import pyarrow.parquet as pq
import pytest
from psycopg.sql import SQL, Identifier

from console.bench import synthetic
from console.bench.log import filled
from console.bench.peers import eventsourcing, faust, plain
from console.bench.peers.tables import read_model
from console.bench.sections import projection, replay
from infra.settings import Settings
from schemas.interactions import InteractionRecorded

COUNT = 1_500
EVENTS = list(synthetic.interactions(COUNT))
POPULARITY = Counter(event.item_id for event in EVENTS)

Row: TypeAlias = tuple[str, str, str, float | None, datetime]
FIELDS = ("user_id", "item_id", "kind", "value", "occurred_at")


def rows_of(events: list[InteractionRecorded]) -> Counter[Row]:
    return Counter((e.user_id, e.item_id, e.kind, e.value, e.occurred_at) for e in events)


def rows_in(file: Path) -> Counter[Row]:
    return Counter(tuple(row[name] for name in FIELDS) for row in pq.read_table(file).to_pylist())


async def _tables(connection: Any) -> tuple[int, dict[str, int]]:
    (history,) = await (await connection.execute("SELECT count(*) FROM history")).fetchone()
    popularity = await (await connection.execute("SELECT item_id, interactions FROM popularity")).fetchall()
    return history, dict(popularity)


@pytest.fixture
def library(settings: Settings) -> Iterator[dict[str, str]]:
    with eventsourcing.schema(settings, "library") as environment:
        yield environment


def test_synthetic_events_are_the_same_at_every_run() -> None:
    """Otherwise two benchmarks would not be comparable."""
    assert list(synthetic.interactions(COUNT)) == EVENTS
    assert POPULARITY["bench-item-0"] > 5 * POPULARITY["bench-item-99"]


def test_the_upload_carries_every_event() -> None:
    """What is sent over HTTP is what the peers get."""
    lines = b"".join(synthetic.ndjson(EVENTS, 400)).splitlines()
    sent = [orjson.loads(line) for line in lines]
    assert len(lines) == COUNT
    assert [(one["user_id"], one["item_id"], one.get("value")) for one in sent] == [
        (event.user_id, event.item_id, event.value) for event in EVENTS
    ]


async def test_plain_projections_write_what_the_log_holds(settings: Settings) -> None:
    """By batches and one by one, with every offset."""
    await filled(settings, COUNT)
    for project in (plain.project_polls, plain.project_each):
        async with read_model(settings) as connection:
            assert await project(settings, connection, COUNT) > 0
            assert await _tables(connection) == (COUNT, POPULARITY)
            reached = await connection.execute("SELECT sum(next_offset) FROM offsets")
            assert await reached.fetchone() == (COUNT,)


async def test_the_faust_agent_writes_what_the_log_holds(settings: Settings, tmp_path: Path) -> None:
    """Every event, once."""
    await filled(settings, COUNT)
    async with read_model(settings) as connection:
        assert await faust.project(settings, connection, COUNT, tmp_path) > 0
        assert await _tables(connection) == (COUNT, POPULARITY)


def test_the_library_projects_what_was_recorded(settings: Settings, library: dict[str, str]) -> None:
    """Its projection writes the same two tables."""
    eventsourcing.ingest(library, EVENTS)
    assert eventsourcing.project(library, COUNT) > 0
    with psycopg.connect(settings.postgres.dsn.get_secret_value()) as connection:
        connection.execute(SQL("SET search_path = {}").format(Identifier(library["POSTGRES_SCHEMA"])))
        assert connection.execute("SELECT count(*) FROM history").fetchone() == (COUNT,)
        assert dict(connection.execute("SELECT * FROM popularity").fetchall()) == POPULARITY


async def test_everybody_replays_the_same_events(settings: Settings, library: dict[str, str], tmp_path: Path) -> None:
    """Ours, by hand and by the library: one set of rows."""
    decoder = await filled(settings, COUNT)
    eventsourcing.ingest(library, EVENTS)
    await replay.ours(settings, decoder, COUNT, tmp_path / "ours")
    await plain.to_parquet(settings, COUNT, tmp_path / "plain")
    eventsourcing.to_parquet(library, tmp_path / "library")
    assert rows_in(tmp_path / "ours") == rows_in(tmp_path / "plain") == rows_in(tmp_path / "library") == rows_of(EVENTS)


async def test_our_projection_is_measured_to_its_end(settings: Settings) -> None:
    """The clock stops when both views have folded every event, not before."""
    count = 9_000
    await filled(settings, count)
    sample = await projection.ours(settings, projection.BOTH, count)
    assert sample["events/s"] > 0
    with psycopg.connect(settings.postgres.dsn.get_secret_value()) as connection:
        connection.execute(SQL("SET search_path = {}").format(Identifier(settings.postgres.db_schema)))
        assert connection.execute("SELECT count(*) FROM user_history").fetchone() == (count,)
        assert connection.execute("SELECT sum(interactions) FROM popularity").fetchone() == (count,)


def test_the_library_keeps_every_command(library: dict[str, str]) -> None:
    """A command of the peer is load, decide and save, as ours is."""
    with eventsourcing.people(library, ["ana", "bo"]) as command:
        for number in range(6):
            command(number)
    with eventsourcing.People(library) as application:
        ana: eventsourcing.Person = application.repository.get(eventsourcing.Person.create_id("ana"))
        assert (ana.version, ana.favourites) == (4, ["category-4", "category-4"])
