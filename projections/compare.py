"""Whether two read models say the same."""

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson
from elasticsearch import AsyncElasticsearch
from elasticsearch.helpers import async_scan
from psycopg import AsyncConnection, sql

from projections.table import Table

SAMPLE = 10
"""Differences shown."""


@dataclass(frozen=True)
class Difference:
    """A row that only one of the two has.

    Attributes:
        side: `live` or `fresh`.
        row: as JSON text.
    """

    side: str
    row: str


@dataclass(frozen=True)
class Comparison:
    """A live read model beside a fresh fold of the log up to the same place.

    Attributes:
        live_rows, fresh_rows: rows or documents.
        live_hash, fresh_hash: hash over the content of all rows in order.
        sample: some of the differences.
    """

    name: str
    live_rows: int
    fresh_rows: int
    live_hash: str
    fresh_hash: str
    sample: tuple[Difference, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether they say the same."""
        return self.live_rows == self.fresh_rows and self.live_hash == self.fresh_hash


async def compare_tables(connection: AsyncConnection[Any], live: Table, fresh: Table) -> Comparison:
    """Compare two tables of a view, row by row, whatever order the rows stand in."""
    live_rows, live_hash = await _content(connection, live)
    fresh_rows, fresh_hash = await _content(connection, fresh)
    sample: tuple[Difference, ...] = ()
    if (live_rows, live_hash) != (fresh_rows, fresh_hash):
        sample = (*await _only(connection, "live", live, fresh), *await _only(connection, "fresh", fresh, live))
    return Comparison(live.view.name, live_rows, fresh_rows, live_hash, fresh_hash, sample)


async def compare_indices(client: AsyncElasticsearch, live: str, fresh: str) -> Comparison:
    """Compare the documents of two indices."""
    await client.indices.refresh(index=f"{live},{fresh}")
    ours, theirs = await _documents(client, live), await _documents(client, fresh)
    sample = [Difference("live", i) for i in ours if theirs.get(i) != ours[i]][:SAMPLE]
    sample += [Difference("fresh", i) for i in theirs if theirs[i] != ours.get(i)][:SAMPLE]
    return Comparison(live, len(ours), len(theirs), _digest(ours), _digest(theirs), tuple(sample))


async def _content(connection: AsyncConnection[Any], table: Table) -> tuple[int, str]:
    query = sql.SQL("""
        SELECT count(*) AS rows, coalesce(md5(string_agg(hash, '' ORDER BY hash)), '') AS hash
        FROM (SELECT md5(content::text) AS hash FROM {} AS content) AS hashes
    """).format(table.identifier)
    (row,) = await (await connection.execute(query)).fetchall()
    return row["rows"], row["hash"]


async def _only(connection: AsyncConnection[Any], side: str, one: Table, other: Table) -> list[Difference]:
    query = sql.SQL("""
        SELECT to_jsonb(difference)::text AS row FROM (SELECT * FROM {} EXCEPT ALL SELECT * FROM {}) AS difference
        LIMIT {}
    """).format(one.identifier, other.identifier, sql.Literal(SAMPLE))
    return [Difference(side, row["row"]) async for row in await connection.execute(query)]


async def _documents(client: AsyncElasticsearch, index: str) -> dict[str, str]:
    """Hash of every document by id."""
    found: dict[str, str] = {}
    async for hit in async_scan(client, index=index, size=1000, version=True):
        content = orjson.dumps([hit["_version"], hit["_source"]], option=orjson.OPT_SORT_KEYS)
        found[hit["_id"]] = hashlib.sha256(content).hexdigest()
    return found


def _digest(hashes: dict[str, str]) -> str:
    lines = "".join(f"{document}:{found}\n" for document, found in sorted(hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
