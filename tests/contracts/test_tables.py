"""Published tables as contracts: columns that others read, read by their real code, shown by the real projector."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
from psycopg import AsyncConnection, sql

import inference.explaining.whereabouts
from commands.api.outcomes import Outcomes
from commands.api.status import Status
from commands.eraser.readmodels import ReadModels as Forgetting
from inference.deployment.placement import Version
from inference.deployment.registered import registry_says
from inference.explaining.whatif import version
from inference.serving.reads import ReadModels
from infra.ending import ended
from infra.health import Health
from infra.index.signatures import IN_A_ROW, signatures
from infra.kafka.partitioner import partition_of
from infra.postgres import connect, make_pool
from infra.settings import Settings
from projections import runner
from schemas.position import Position

FOLDER = Path(__file__).parent / "tables"
COMMAND = UUID("0f2d9b1c-0000-5000-8000-000000000001")
SAMPLES: Mapping[str, str] = {
    "text": "'x'",
    "text[]": "'{}'",
    "integer": "1",
    "bigint": "1",
    "boolean": "true",
    "timestamp with time zone": "now()",
    "jsonb": """'{"x": 1}'""",
    "bit(4096)": "B'1'::bit(4096)",
}
VIEWS = ("user_history", "user_profile", "catalogue", "popularity", "live_models", "decisions")
Tables = dict[str, dict[str, str]]


async def serving(settings: Settings) -> None:
    patient = settings.recommend.model_copy(update={"store_timeout_ms": 30_000})
    async with ReadModels(settings.model_copy(update={"recommend": patient})) as reads:
        user = await reads.user("x")
        assert (user.history, user.registered) == (("x",), True)
        assert len(user.positions) == 2
        assert (await reads.catalogue()).titles == {"x": "x"}
        assert (await reads.popularity()).counts == {"x": 1}
        assert (await reads.live()).versions["x"].version == 1
        assert set(await reads.marks()) == {"catalogue", "popularity", "live_models", "user_profile"}
        assert user.erased
        assert (await reads.erased()).people == {"x"}
        assert await reads.refusing(["x"]) == set()


async def eraser(settings: Settings) -> None:
    position = Position("t", partition_of("x", settings.kafka.partitions), 0)
    async with make_pool(settings, "test") as pool:
        assert await Forgetting(pool).forgotten("x", position) == {}


async def deployer(settings: Settings) -> None:
    found, against = await registry_says(settings, Version("x", 1, "x"))
    told = {"registered": "run x", "dataset_sha256": "x", "metrics": "x 1"}
    assert found == told | {"serving": "version 1", "serving_metrics": "x 1"}
    assert against == ["version 1 is retired"]


async def console(settings: Settings) -> None:
    place, seen = await inference.explaining.whereabouts.hint(settings, "x")
    assert (place, list(seen.values())) == (Position("decisions", 1, 1), [1])
    found = await signatures(settings, "x", {1: 2 * IN_A_ROW})
    assert found is not None
    assert [int(offset) for offset in found[1].values.nonzero()[0]] == [IN_A_ROW]
    chosen = await version(settings, "x", 1)
    assert (chosen["artifact_sha256"], chosen["retired"], chosen["live"]) == ("x", True, True)


async def commands(settings: Settings) -> None:
    nothing_recent = cast(Outcomes, SimpleNamespace(known=lambda _: None, awaited_s=lambda _: float("inf")))
    async with make_pool(settings, "test") as pool:
        found = await Status(nothing_recent, pool).of(COMMAND, "x")
    assert (found["position"], found["outcome"], found["version"]) == ("x/1/1", "x", 1)


READERS: Mapping[str, Callable[[Settings], Awaitable[None]]] = {
    "serving": serving,
    "deployer": deployer,
    "console": console,
    "commands": commands,
    "eraser": eraser,
}


def agreed(consumer: str) -> Tables:
    tables: Tables = json.loads((FOLDER / f"{consumer}-projector.json").read_text())["tables"]
    return tables


async def stubbed(connection: AsyncConnection[Any], settings: Settings, tables: Tables) -> None:
    """Tables of exactly the agreed columns, with one row each."""
    schema = sql.Identifier(settings.postgres.db_schema)
    await connection.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
    for table, columns in tables.items():
        described = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
        await connection.execute(f"CREATE TABLE {table} ({described})".encode())
        await connection.execute(f"INSERT INTO {table} VALUES ({values(columns)})".encode())
    if "projection_offsets" in tables:
        await connection.execute("DELETE FROM projection_offsets")
        mine = partition_of("x", settings.kafka.partitions)
        for view in VIEWS:
            insert = 'INSERT INTO projection_offsets ("view", version, topic, partition, next_offset) VALUES'
            await connection.execute(f"{insert} (%s, 1, 't', %s, 1)".encode(), (view, mine))
    if "command_log" in tables:
        await connection.execute("UPDATE command_log SET command_id = %s", (str(COMMAND),))


def values(columns: Mapping[str, str]) -> str:
    return ", ".join(SAMPLES[kind] for kind in columns.values())


@pytest.mark.parametrize("consumer", READERS)
async def test_a_consumer_reads_the_agreed_columns_and_each_of_them(settings: Settings, consumer: str) -> None:
    """Reading a column that is not agreed fails here, and so does agreeing on one that nobody reads."""
    tables = agreed(consumer)
    async with await connect(settings, "test") as connection:
        await stubbed(connection, settings, tables)
        await READERS[consumer](settings)
        for table, columns in tables.items():
            for column in columns:
                await connection.execute(f'ALTER TABLE {table} RENAME "{column}" TO gone'.encode())
                with pytest.raises(Exception):  # noqa: B017
                    await READERS[consumer](settings)
                await connection.execute(f'ALTER TABLE {table} RENAME gone TO "{column}"'.encode())


async def test_the_projector_publishes_what_was_agreed(settings: Settings) -> None:
    """A view that renames a column or changes its type learns here whom it breaks."""
    health = Health("projector")
    task = asyncio.create_task(runner.run(settings, health, runner.declared()))
    try:
        async with asyncio.timeout(120), await connect(settings, "test") as connection:
            while not (health.ready and len(health.components) > 1):
                await asyncio.sleep(0.05)
            for consumer in READERS:
                for table, columns in agreed(consumer).items():
                    assert not faults(columns, await published(connection, table)), (consumer, table)
    finally:
        await ended(task)


async def published(connection: AsyncConnection[Any], table: str) -> dict[str, str]:
    rows = await connection.execute(
        """SELECT attname, format_type(atttypid, atttypmod) AS kind FROM pg_attribute
           WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped""",
        (table,),
    )
    return {row["attname"]: row["kind"] async for row in rows}


def faults(wanted: Mapping[str, str], got: Mapping[str, str]) -> list[str]:
    return [f"{name} is {got.get(name)}, not {kind}" for name, kind in wanted.items() if got.get(name) != kind]


def test_every_table_contract_has_a_reader() -> None:
    """A file that nobody runs says nothing."""
    assert {path.stem for path in FOLDER.glob("*.json")} == {f"{name}-projector" for name in READERS}


def test_the_judge_sees_a_renamed_and_a_retyped_column() -> None:
    """A judge that finds everything right proves nothing."""
    assert faults({"a": "text"}, {"b": "text"})
    assert faults({"a": "text"}, {"a": "bigint"})
    assert not faults({"a": "text"}, {"a": "text", "more": "bigint"})
