"""Earlier versions of a read model, which stay until somebody removes them."""

import re

from elasticsearch import AsyncElasticsearch
from psycopg import AsyncConnection, sql
from psycopg.rows import DictRow

from infra.elastic import index_name, make_elastic
from infra.settings import Settings
from projections import parked
from projections.documents import Documents
from projections.table import Table
from projections.view import Index, Projection, View


async def remove_older(settings: Settings, projection: Projection, connection: AsyncConnection[DictRow]) -> list[str]:
    """Remove the tables or indices of versions before the one that is shown; answers their names.

    Nothing is removed before this version is shown.
    """
    if isinstance(projection, View):
        names = await _remove_tables(projection, settings.postgres.db_schema, connection)
    else:
        async with make_elastic(settings) as client:
            names = await _remove_indices(projection, settings, client)
    for version in {_version(name) for name in names}:
        await connection.execute(
            "DELETE FROM projection_offsets WHERE view = %s AND version = %s", (projection.name, version)
        )
        await parked.forget(connection, projection.name, version)
    return names


async def _remove_tables(view: View, schema: str, connection: AsyncConnection[DictRow]) -> list[str]:
    if await Table(view, schema).published_version(connection) != view.version:
        return []
    rows = await connection.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = %s AND tablename ~ %s ORDER BY tablename",
        (schema, f"^{view.name}_v[0-9]+(_seen)?$"),
    )
    older = [name for row in await rows.fetchall() if _version(name := row["tablename"]) < view.version]
    for name in older:
        await connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(schema, name)))
    return older


async def _remove_indices(index: Index, settings: Settings, client: AsyncElasticsearch) -> list[str]:
    documents = Documents(index, settings, client)
    shown = await documents.targets(documents.published)
    if not shown or any(_version(name) != index.version for name in shown):
        return []
    names = sorted(await client.indices.get(index=index_name(settings, f"{index.name}_v*"), ignore_unavailable=True))
    exact = re.compile(re.escape(documents.published) + r"_v[0-9]+_\w+")
    older = [name for name in names if exact.fullmatch(name) and _version(name) < index.version]
    if older:
        await client.indices.delete(index=older, ignore_unavailable=True)
    return older


def _version(physical: str) -> int:
    """Version in the name of a table or index, `<name>_v<version>` with whatever stands behind."""
    return int(physical.rsplit("_v", 1)[1].split("_")[0])
