"""Searching a catalogue at a steady rate, by words and by meaning, beside PostgreSQL alone over the same items."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import count

from psycopg.sql import SQL, Identifier

from console.api import Api
from console.bench.bench import Bench, Section
from console.bench.figure import OURS, Figure, Goal, Sample, Samples, at_least, at_most, peers_of, runs_of
from console.bench.library import items, question
from console.bench.load import Load, Send, open_loop
from console.bench.people import bounded
from infra.elastic import index_name, make_elastic
from infra.postgres import Pool, make_pool
from schemas.errors import TimedOut

NAME = "search"
RATE = 50
ITEMS = 10_000
FEW_ITEMS = 1_500
WARM_UP_S = 60.0
"""A young JVM takes three times as long for a search, and on two cores it compiles for a minute."""
PATIENCE_S = 600
LIMIT = 20

TABLE = Identifier("bench_library")
MAKE = """
    DROP TABLE IF EXISTS {table};
    CREATE TABLE {table} AS SELECT item_id, title, description, categories,
        setweight(to_tsvector('english', title), 'A') || to_tsvector('english', coalesce(description, '')) AS words
        FROM catalogue WHERE NOT retired;
    CREATE INDEX ON {table} USING gin (words);
    ANALYZE {table};
"""
BY_TSVECTOR = """
    SELECT item_id, title, ts_rank(words, q) AS score
    FROM {table}, (SELECT replace(plainto_tsquery('english', %(q)s)::text, '&', '|')::tsquery AS q) AS asked
    WHERE words @@ q AND (%(category)s::text IS NULL OR %(category)s = ANY(categories))
    ORDER BY score DESC, item_id LIMIT %(limit)s
"""
BY_ILIKE = """
    SELECT item_id, title FROM {table}
    WHERE (title ILIKE ANY(%(patterns)s) OR description ILIKE ANY(%(patterns)s))
        AND (%(category)s::text IS NULL OR %(category)s = ANY(categories))
    ORDER BY item_id LIMIT %(limit)s
"""


async def run(bench: Bench) -> list[Figure]:
    """Fill the catalogue, wait for the vectors, then ask; every question is asked once."""
    async with Api(bench.settings, actor="bench", concurrency=0) as api:
        await _fill(bench, api)
        async with _postgres(bench) as pool:
            numbers = count()
            warm_up_s = min(WARM_UP_S, 6 * bench.sizes.load_s)
            await open_loop(partial(_ask, api, Counter(), numbers, {}), rate=RATE, duration_s=warm_up_s)
            samples = await bench.alternate(
                NAME,
                {
                    OURS: partial(_ours, bench, api, numbers, {}),
                    "words alone": partial(_ours, bench, api, numbers, {"mode": "text"}),
                    "PostgreSQL tsvector": partial(_peer, bench, pool, numbers, BY_TSVECTOR),
                    "PostgreSQL ILIKE": partial(_peer, bench, pool, numbers, BY_ILIKE),
                },
            )
    return [_figure(samples, key, name, unit, goal) for key, name, unit, goal in FIGURES]


FIGURES: Sequence[tuple[str, str, str, Goal | None]] = (
    ("p50", f"p50 at {RATE}/s", "ms", None),
    ("p99", f"p99 at {RATE}/s", "ms", at_most(60)),
    ("hybrid", "ranked by words and meaning", "%", at_least(99)),
    ("faults", "refused or failed", "answers", at_most(0)),
)


def _figure(samples: Samples, key: str, name: str, unit: str, goal: Goal | None) -> Figure:
    better = "higher" if key == "hybrid" else "lower"
    peers = peers_of(samples, key) if unit == "ms" else {}
    runs = runs_of(samples, OURS, key)
    return Figure(section=NAME, name=name, unit=unit, better=better, runs=runs, asked=goal, peers=peers)  # type: ignore[arg-type]


async def _fill(bench: Bench, api: Api) -> None:
    total = ITEMS if bench.sizes.load_s >= 10 else FEW_ITEMS
    began = time.perf_counter()
    await bounded(api.command("POST", "/items", body, key=f"bench:{body['item_id']}") for body in items(total))
    await _embedded(bench, total)
    bench.say(f"  {total} items, found by words and by meaning after {time.perf_counter() - began:.0f} s")


async def _embedded(bench: Bench, total: int) -> None:
    """Wait until every item has its vector.

    Raises:
        TimedOut: it takes too long.
    """
    deadline, name = time.monotonic() + PATIENCE_S, index_name(bench.settings, "catalogue_search")
    query = {"bool": {"filter": [{"exists": {"field": "vector_model"}}, {"prefix": {"item_id": "book-"}}]}}
    async with make_elastic(bench.settings) as elastic:
        while (found := (await elastic.count(index=name, query=query))["count"]) < total:
            if time.monotonic() > deadline:
                raise TimedOut(f"{found} of {total} items have a vector after {PATIENCE_S} s")
            await asyncio.sleep(0.5)


async def _ask(api: Api, rankings: Counter[str], numbers: Iterator[int], extra: dict[str, str], _: int) -> None:
    asked = {name: value for name, value in question(next(numbers), FEW_ITEMS).items() if value is not None}
    params = {"limit": str(LIMIT), **asked, **extra}
    rankings[(await api.query("/items/search", params)).body["ranking"]] += 1


async def _ours(bench: Bench, api: Api, numbers: Iterator[int], extra: dict[str, str]) -> Sample:
    rankings: Counter[str] = Counter()
    load = await _loaded(bench, partial(_ask, api, rankings, numbers, extra))
    return load.summary() | {"hybrid": 100 * rankings["hybrid"] / max(1, rankings.total())}


async def _peer(bench: Bench, pool: Pool, numbers: Iterator[int], statement: str) -> Sample:
    query = SQL(statement).format(table=TABLE)

    async def send(_: int) -> None:
        asked = question(next(numbers), FEW_ITEMS)
        patterns = [f"%{word}%" for word in asked["q"].split()]
        async with pool.connection() as connection:
            await (await connection.execute(query, {**asked, "patterns": patterns, "limit": LIMIT})).fetchall()

    return (await _loaded(bench, send)).summary()


async def _loaded(bench: Bench, send: Send) -> Load:
    load = await open_loop(send, rate=RATE, duration_s=bench.sizes.load_s)
    for fault, times in load.faults.most_common(3):
        bench.say(f"  [red]{times} × {fault}[/]")
    return load


@asynccontextmanager
async def _postgres(bench: Bench) -> AsyncIterator[Pool]:
    """The same items in a table with an index over their words."""
    async with make_pool(bench.settings, "bench search") as pool:
        async with pool.connection() as connection:
            for statement in MAKE.split(";")[:-1]:
                await connection.execute(SQL(statement).format(table=TABLE))
        yield pool


SECTION = Section(
    NAME,
    5,
    ("kafka", "postgres", "elastic", "triton", "registry", "processor", "commands", "projector", "queries", "embedder"),
    run,
)
