"""Whether two read models say the same.

The content of a read model is a set of rows in no order, so its hash is the sum of the hashes of its rows: 64 bits
each, added without overflow. Adding needs no sorting, and any number of processes can share it. Two different contents
have the same sum only by an accident: given all other rows, one value in 2^64 of one row's hash makes the sums agree.
The hash is not cryptographic, it finds faults and not forgers. When the sums differ, the rows are told apart by the
sums of 65 536 buckets, and only the rows of a few buckets that differ are looked at.

Source: the additive hash of D. Clarke, S. Devadas, M. van Dijk, B. Gassend and G. E. Suh, Incremental Multiset Hash
Functions and Their Application to Memory Integrity Checking, ASIACRYPT 2003.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from elasticsearch import AsyncElasticsearch
from psycopg import AsyncConnection, sql

from projections.table import Table

SAMPLE = 10
"""Differences shown of each side."""

BUCKETS = 65_536
"""Parts in which differences are looked for; a bucket of 10 million rows has about 150."""

LOOKED_AT = 8
"""Buckets whose rows are looked at."""

PAGE = 5_000
"""Documents fetched from Elasticsearch at once."""

KEPT = "5m"
"""How long Elasticsearch keeps a moment between two requests for it."""


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
class Digest:
    """The content of a read model in two numbers.

    Attributes:
        rows: rows or documents.
        total: sum of the hashes of all.
    """

    rows: int = 0
    total: int = 0

    @property
    def text(self) -> str:
        """The sum, as people compare hashes."""
        return f"{self.total % 2**128:032x}"


@dataclass(frozen=True)
class Comparison:
    """A live read model beside a fresh fold of the log up to the same place.

    Attributes:
        live_rows, fresh_rows: rows or documents.
        live_hash, fresh_hash: hash over the content of all rows.
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

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "equal": self.equal}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Comparison":
        """Read what `document` wrote."""
        sample = tuple(Difference(**one) for one in document["sample"])
        named = {name: document[name] for name in ("name", "live_rows", "fresh_rows", "live_hash", "fresh_hash")}
        return cls(**named, sample=sample)


class RowsOfTable:
    """The content of a table, as one transaction sees it.

    Args:
        connection: in a transaction that sees one moment, when the table is written meanwhile.
    """

    def __init__(self, connection: AsyncConnection[Any], table: Table) -> None:
        self._connection = connection
        self._hash = sql.SQL("hashtextextended(content::text, 0)")
        self._from = sql.SQL("FROM {} AS content").format(table.identifier)

    async def digest(self) -> Digest:
        """Of all rows; PostgreSQL shares the work among its processes."""
        query = sql.SQL("SELECT count(*) AS rows, coalesce(sum({}), 0) AS total {}").format(self._hash, self._from)
        row = await (await self._connection.execute(query)).fetchone()
        assert row is not None, "an aggregate answers a row"
        return Digest(row["rows"], int(row["total"]))

    async def buckets(self) -> dict[int, Digest]:
        """Of the rows of each bucket that has some."""
        query = sql.SQL("""
            SELECT hash & {} AS bucket, count(*) AS rows, sum(hash) AS total
            FROM (SELECT {} AS hash {}) AS hashes GROUP BY bucket
        """).format(sql.Literal(BUCKETS - 1), self._hash, self._from)
        return {r["bucket"]: Digest(r["rows"], int(r["total"])) async for r in await self._connection.execute(query)}

    async def rows(self, buckets: Collection[int]) -> Counter[str]:
        """The rows of some buckets as JSON, and how often each is there."""
        query = sql.SQL("SELECT to_jsonb(content)::text AS row {} WHERE ({} & {}) = ANY(%s)").format(
            self._from, self._hash, sql.Literal(BUCKETS - 1)
        )
        return Counter([row["row"] async for row in await self._connection.execute(query, (list(buckets),))])


class DocumentsOfIndex:
    """The content of an index at one moment; what is written afterwards is not seen.

    Args:
        moment: id of a point in time, which this lets go of in `close`.
        versions: whether the versions of documents belong to their content: they do where every version is the place
            of one event in one partition.
    """

    def __init__(self, client: AsyncElasticsearch, moment: str, *, versions: bool) -> None:
        self._client = client
        self._moment = moment
        self._versions = versions
        self._buckets: dict[int, Digest] | None = None

    @classmethod
    async def now(cls, client: AsyncElasticsearch, index: str, *, versions: bool) -> "DocumentsOfIndex":
        """The content of an index or alias as it is now."""
        await client.indices.refresh(index=index)
        answer = await client.open_point_in_time(index=index, keep_alive=KEPT)
        return cls(client, answer["id"], versions=versions)

    async def close(self) -> None:
        """Let Elasticsearch forget this moment."""
        await self._client.options(ignore_status=404).close_point_in_time(id=self._moment)

    async def digest(self) -> Digest:
        """Of all documents."""
        parts = (await self.buckets()).values()
        return Digest(sum(part.rows for part in parts), sum(part.total for part in parts))

    async def buckets(self) -> dict[int, Digest]:
        """Of the documents of each bucket that has some; read once."""
        if self._buckets is None:
            rows: Counter[int] = Counter()
            totals: Counter[int] = Counter()
            async for found, _ in self._documents():
                rows[found % BUCKETS] += 1
                totals[found % BUCKETS] += found
            self._buckets = {bucket: Digest(rows[bucket], totals[bucket]) for bucket in rows}
        return self._buckets

    async def rows(self, buckets: Collection[int]) -> Counter[str]:
        """The documents of some buckets as JSON."""
        return Counter([text.decode() async for found, text in self._documents() if found % BUCKETS in buckets])

    async def _documents(self) -> AsyncIterator[tuple[int, bytes]]:
        """Every document with its hash."""
        after: list[Any] | None = None
        while True:
            answer = await self._client.search(
                pit={"id": self._moment, "keep_alive": KEPT},
                size=PAGE,
                version=self._versions,
                sort="_shard_doc",
                search_after=after,
                track_total_hits=False,
            )
            hits = answer["hits"]["hits"]
            if not hits:
                return
            for hit in hits:
                version = {"_version": hit["_version"]} if self._versions else {}
                content = {"_id": hit["_id"], **version, **hit["_source"]}
                text = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
                yield int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big"), text
            after = hits[-1]["sort"]


async def compared(
    name: str, live: RowsOfTable | DocumentsOfIndex, fresh: RowsOfTable | DocumentsOfIndex
) -> Comparison:
    """Compare two contents; both are read at the same time, so they need connections of their own."""
    ours, theirs = await asyncio.gather(live.digest(), fresh.digest())
    sample = () if ours == theirs else await _differences(live, fresh)
    return Comparison(name, ours.rows, theirs.rows, ours.text, theirs.text, sample)


async def _differences(
    live: RowsOfTable | DocumentsOfIndex, fresh: RowsOfTable | DocumentsOfIndex
) -> tuple[Difference, ...]:
    ours, theirs = await asyncio.gather(live.buckets(), fresh.buckets())
    differing = [bucket for bucket in {*ours, *theirs} if ours.get(bucket) != theirs.get(bucket)][:LOOKED_AT]
    mine, other = await asyncio.gather(live.rows(differing), fresh.rows(differing))
    only = {"live": mine - other, "fresh": other - mine}
    return tuple(Difference(side, row) for side, rows in only.items() for row in sorted(rows.elements())[:SAMPLE])
