"""How to reach PostgreSQL: connections and pools whose search path is our schema."""

from typing import Any, TypeAlias

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from infra.settings import Settings
from schemas.errors import Unavailable

Pool: TypeAlias = AsyncConnectionPool[AsyncConnection[DictRow]]


def postgres_options(settings: Settings, service: str) -> dict[str, Any]:
    """Keyword arguments of every connection of ours: autocommit, UTC, our schema first in the search path."""
    schema = settings.postgres.db_schema
    return {
        "autocommit": True,
        "connect_timeout": 5,
        "application_name": f"retrace {service}",
        "options": f"-c search_path={schema},public -c timezone=UTC",
        "row_factory": dict_row,
    }


async def connect(settings: Settings, service: str) -> AsyncConnection[DictRow]:
    """One connection.

    Raises:
        Unavailable: PostgreSQL does not answer.
    """
    try:
        dsn = settings.postgres.dsn.get_secret_value()
        return await AsyncConnection[DictRow].connect(dsn, **postgres_options(settings, service))
    except psycopg.OperationalError as fault:
        raise away(fault) from fault


def make_pool(settings: Settings, service: str, *, min_size: int = 1, max_size: int = 10, checked: bool = True) -> Pool:
    """A pool that is not open yet; `async with` opens it. A connection is waited for at most 5 s.

    Args:
        checked: whether a connection is tried before it is handed out, which costs a round trip. Without it the first
            requests after a restart of the server fail, and are to be sent again after `pool.check()`.
    """
    return AsyncConnectionPool(
        settings.postgres.dsn.get_secret_value(),
        connection_class=AsyncConnection[DictRow],
        kwargs=postgres_options(settings, service),
        min_size=min_size,
        max_size=max_size,
        timeout=5,
        check=AsyncConnectionPool.check_connection if checked else None,
        open=False,
        name=service,
    )


def away(fault: BaseException) -> Unavailable:
    """What to tell of a database that does not answer. Says nothing of the address, which may hold a password."""
    return Unavailable(f"PostgreSQL does not answer: {str(fault).strip().splitlines()[0]}; is it running?")
