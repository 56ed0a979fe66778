"""The read model that the peers write: the same two tables as ours, and where they have got to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection
from psycopg.sql import SQL, Identifier

from infra.settings import Settings

TABLES = """
    CREATE TABLE history (
        user_id text NOT NULL, item_id text NOT NULL, kind text NOT NULL, value float8,
        occurred_at timestamptz NOT NULL, partition int NOT NULL, "offset" bigint NOT NULL,
        PRIMARY KEY (user_id, occurred_at, "offset"));
    CREATE TABLE popularity (item_id text PRIMARY KEY, interactions bigint NOT NULL);
    CREATE TABLE offsets (partition int PRIMARY KEY, next_offset bigint NOT NULL);
"""


@asynccontextmanager
async def read_model(settings: Settings) -> AsyncIterator[AsyncConnection[Any]]:
    """A connection to empty tables, which are dropped afterwards."""
    dsn, path = settings.postgres.dsn.get_secret_value(), f"{settings.postgres.db_schema}_peer"
    connection = await AsyncConnection.connect(dsn, autocommit=True, options=f"-c search_path={path}")
    async with connection:
        await connection.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(path)))
        await connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(path)))
        await connection.execute(TABLES)
        try:
            yield connection
        finally:
            await connection.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(path)))
