"""The read model that the peers write: the same two tables as ours, and where they have got to."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.sql import SQL, Identifier

SCHEMA = "bench_peer"

TABLES = """
    CREATE TABLE history (
        user_id text NOT NULL, item_id text NOT NULL, kind text NOT NULL, value float8,
        occurred_at timestamptz NOT NULL, partition int NOT NULL, "offset" bigint NOT NULL,
        PRIMARY KEY (user_id, occurred_at, "offset"));
    CREATE TABLE popularity (item_id text PRIMARY KEY, interactions bigint NOT NULL);
    CREATE TABLE offsets (partition int PRIMARY KEY, next_offset bigint NOT NULL);
"""


@contextmanager
def new_tables(dsn: str) -> Iterator[str]:
    """Empty tables, for as long as the block runs; gives the name of their schema."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(SCHEMA)))
        connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(SCHEMA)))
        connection.execute(SQL("SET search_path = {}").format(Identifier(SCHEMA)))
        connection.execute(TABLES)
    try:
        yield SCHEMA
    finally:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(SCHEMA)))
