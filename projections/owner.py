"""Whose read side a schema is: one tenant's, said in the schema itself.

No statement of a query names the tenant, so a schema must never hold two tenants' rows. The first projector writes its
tenant down; a projector or a query service of another tenant that is pointed there by mistake stops before it does
anything.
"""

from typing import Any

from psycopg import AsyncConnection, sql

from infra.postgres import connect
from infra.settings import Settings
from projections.checkpoint import SETUP_LOCK
from projections.faults import translated
from schemas.errors import Problem

TABLE = sql.SQL("""CREATE TABLE IF NOT EXISTS {} (
    tenant text NOT NULL, single bool NOT NULL DEFAULT true PRIMARY KEY CHECK (single)
)""")


class ForeignReadSide(Problem):
    """The schema holds another tenant's read models; waiting does not help."""

    code = "foreign_read_side"
    status = 503


async def own(settings: Settings) -> None:
    """Make the schema this tenant's, or see that it is.

    Raises:
        ForeignReadSide: it is another's.
        Unavailable: PostgreSQL does not answer.
    """
    schema = sql.Identifier(settings.postgres.db_schema)
    table = sql.Identifier(settings.postgres.db_schema, "read_side")
    with translated("read_side"):
        async with await connect(settings, "projector owner") as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (SETUP_LOCK,))
            await connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
            await connection.execute(TABLE.format(table))
            claim = sql.SQL("INSERT INTO {} (tenant) VALUES (%s) ON CONFLICT DO NOTHING").format(table)
            await connection.execute(claim, (settings.tenant,))
            await see_own(connection, settings)


async def see_own(connection: AsyncConnection[Any], settings: Settings) -> bool:
    """Whether the schema is ours; one that nobody has made yet is nobody's.

    Raises:
        ForeignReadSide: it is another's.
    """
    name = f'"{settings.postgres.db_schema}".read_side'
    made = await (await connection.execute("SELECT to_regclass(%s) IS NOT NULL AS made", (name,))).fetchone()
    if made is None or not made["made"]:
        return False
    row = await (await connection.execute("SELECT tenant FROM read_side")).fetchone()
    if row is not None and row["tenant"] != settings.tenant:
        raise ForeignReadSide(
            f"the schema {settings.postgres.db_schema} holds the read models of tenant '{row['tenant']}', and this "
            f"service is set to '{settings.tenant}': give each tenant a schema (RETRACE_POSTGRES__DB_SCHEMA) and an "
            "index prefix (RETRACE_ELASTIC__INDEX_PREFIX) of its own"
        )
    return row is not None
