"""The projector on real servers: it skips nothing, repeats nothing, and says so when it cannot go on."""

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import psycopg
import pytest
from aiokafka import AIOKafkaProducer
from elasticsearch import AsyncElasticsearch
from psycopg import AsyncConnection

from infra.elastic import index_name, make_elastic
from infra.kafka.connect import aiokafka_options
from infra.kafka.facts import FactWriter
from infra.kafka.records import Decoder
from infra.kafka.topics import physical
from infra.settings import Settings, child_environment
from projections.reader import open_reader
from projections.rebuild import rebuild, verify
from projections.views import decisions_search, popularity, user_history
from schemas.deadletters import RecordDeadLettered
from schemas.errors import Rejected

from ..eventually import eventually
from .running import StartProjector
from .samples import served
from .telling import append, meta_of, viewed

pytestmark = pytest.mark.long

Database = AsyncConnection[dict[str, Any]]


async def scalar(database: Database, query: str) -> Any:
    """The one value of a query; None while its table is missing."""
    try:
        row = await (await database.execute(query.encode())).fetchone()
    except psycopg.errors.UndefinedTable:
        return None
    return None if row is None else next(iter(row.values()))


def counted(database: Database, view: str, number: int) -> Callable[[], Awaitable[bool]]:
    """Whether a view has so many rows."""

    async def check() -> bool:
        return bool(await scalar(database, f"SELECT count(*) FROM {view}") == number)

    return check


async def letters(settings: Settings, decoder: Decoder, number: int) -> list[Any]:
    """The first dead letters, by their position."""
    async with open_reader(
        settings, decoder, "dead-letters", dict.fromkeys(range(settings.kafka.partitions), 0)
    ) as reader:
        found: list[Any] = []
        while len(found) < number:
            batch = await asyncio.wait_for(reader.read(), 60)
            found += [one.event for one in (batch.recorded({RecordDeadLettered}) if batch else ())]
    return found


async def send_raw(settings: Settings, topic: str, key: str, value: bytes, headers: list[tuple[str, bytes]]) -> None:
    """Put a record into the log as some foreign program would."""
    async with AIOKafkaProducer(**aiokafka_options(settings.kafka)) as producer:
        await producer.send_and_wait(physical(settings, topic), value, key=key.encode(), headers=headers)


async def quickest(attempt: Callable[[int], Awaitable[None]]) -> float:
    """Seconds that the best of five attempts takes, after a first that waits for the start: others are busy, too."""
    await attempt(1)
    took = []
    for number in range(2, 7):
        begun = time.monotonic()
        await attempt(number)
        took.append(time.monotonic() - begun)
    return min(took)


async def test_an_event_is_in_the_table_within_a_second(
    database: Database, writer: FactWriter, projector: StartProjector
) -> None:
    """Freshness: the next recommendation must know of the last click."""
    projector(user_history.VIEW)

    async def shown(number: int) -> None:
        await append(writer, viewed("ana"))
        await eventually(counted(database, "user_history", number))

    assert await quickest(shown) < 1


async def test_a_decision_is_found_within_a_second(
    settings: Settings, writer: FactWriter, projector: StartProjector
) -> None:
    """An auditor who searches right after the answer finds it."""
    projector(decisions_search.INDEX)
    async with make_elastic(settings) as client:

        async def found(number: int) -> bool:
            alias = index_name(settings, "decisions_search")
            answer = await client.options(ignore_status=(404, 503)).search(index=alias, size=0, track_total_hits=True)
            return bool(answer.get("hits", {}).get("total", {}).get("value") == number)

        async def searched(number: int) -> None:
            event = served(f"d{number}")
            await writer.append(event, meta_of(event, "ana"))
            await eventually(lambda: found(number))

        assert await quickest(searched) < 1


async def test_what_cannot_be_read_becomes_a_dead_letter(
    settings: Settings, decoder: Decoder, database: Database, writer: FactWriter, projector: StartProjector
) -> None:
    """One broken producer must not stop the read side, and what it wrote must be found."""
    good = decoder.codec.encode(viewed("ana"))
    headers = meta_of(viewed("ana"), "ana").headers()
    poison = {
        "garbage": (b"garbage", headers),
        "unknown schema": (b"\x00\x7f\xff\xff\xff..", headers),
        "cut off": (good[:-3], headers),
        "no headers": (good, []),
        "no text": (good, [(name, b"\xff\xfe") for name, _ in headers]),
        "empty": (b"", headers),
    }
    for name, (value, found) in poison.items():
        await send_raw(settings, "interactions", name, value, found)
    await append(writer, viewed("ana"))
    running = projector(user_history.VIEW, popularity.VIEW)
    await eventually(counted(database, "user_history", 1))
    found_letters = await letters(settings, decoder, 2 * len(poison))
    expected = {(view, *one) for view in ("user_history", "popularity") for one in _sent(poison)}
    assert {(letter.consumer, letter.key, letter.value) for letter in found_letters} == expected
    assert all(letter.cause and letter.code and letter.topic == "interactions" for letter in found_letters)
    await eventually(lambda: _is(running.health.ready))


def _sent(poison: dict[str, tuple[bytes, Any]]) -> list[tuple[str, bytes]]:
    return [(name, value) for name, (value, _) in poison.items()]


async def test_an_event_that_fits_no_table_stands_aside(
    settings: Settings, decoder: Decoder, database: Database, writer: FactWriter, projector: StartProjector
) -> None:
    """PostgreSQL takes no zero byte in a text, Avro does: any client could stop the read side otherwise."""
    users = ("eva", "ana", "ana", "ana", "eva")
    events = zip(users, ("a", "b", "nul\x00", "c", "d"), strict=True)
    await append(writer, *(viewed(user, item) for user, item in events))
    projector(user_history.VIEW)
    await eventually(counted(database, "user_history", 3))
    (letter,) = await letters(settings, decoder, 1)
    assert (letter.consumer, letter.code, letter.key) == ("user_history", "does_not_fit_view", "ana")
    assert (letter.parked, letter.version) == (True, user_history.VIEW.version)


async def test_a_view_with_a_wrong_statement_stops_alone(
    database: Database, writer: FactWriter, projector: StartProjector
) -> None:
    """A mistake in one declaration is seen at once, and the others go on."""
    wrong = replace(
        popularity.VIEW, name="wrong", apply="INSERT INTO {table} (item_id) SELECT no_such_column FROM batch"
    )
    running = projector(wrong, user_history.VIEW)
    await append(writer, viewed("ana"))
    await eventually(counted(database, "user_history", 1))
    await eventually(lambda: _is("no_such_column" in running.health.components["wrong"].cause))
    assert not running.health.ready
    await append(writer, viewed("ana"))
    await eventually(counted(database, "user_history", 2))
    state = "SELECT state FROM projection_workers WHERE view = 'wrong'"
    await eventually(lambda: _equals(database, state, "stopped"))
    assert await scalar(database, "SELECT sum(next_offset) FROM projection_offsets WHERE view = 'wrong'") == 0


async def test_two_projectors_do_no_harm(
    settings: Settings, database: Database, writer: FactWriter, projector: StartProjector
) -> None:
    """During a deployment two run at once, and a count must not be counted twice."""
    projector(user_history.VIEW, popularity.VIEW)
    projector(user_history.VIEW, popularity.VIEW)
    for number in range(20):
        await append(writer, *(viewed(f"u{user}", f"i{number}") for user in range(50)))
    await eventually(counted(database, "user_history", 1000))
    await eventually(lambda: _equals(database, "SELECT sum(interactions) FROM popularity", 1000))
    for view in (user_history.VIEW, popularity.VIEW):
        assert (await verify(settings, view)).equal


COUNTS, ROWS = replace(popularity.VIEW, name="lost_counts"), replace(user_history.VIEW, name="lost_rows")
"""Under names of their own: the projectors of other tests are on the same server."""

CUT_OFF = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name IN ('retrace projector lost_counts', 'retrace projector lost_rows')
"""


async def test_lost_connections_lose_nothing(database: Database, writer: FactWriter, projector: StartProjector) -> None:
    """PostgreSQL is restarted, a network drops: the projector says that it waits, and goes on by itself."""
    running = projector(COUNTS, ROWS)
    for number in range(10):
        await append(writer, *(viewed(f"u{user}") for user in range(30)))
        if number % 3 == 1:
            await database.execute(CUT_OFF)
    await eventually(lambda: _equals(database, "SELECT sum(interactions) FROM lost_counts", 300))
    await eventually(counted(database, "lost_rows", 300))
    await eventually(lambda: _is(running.health.ready))


async def test_a_killed_projector_goes_on_where_it_was(
    settings: Settings, database: Database, writer: FactWriter, projector: StartProjector
) -> None:
    """Kill -9 at random moments: every read model still equals a fresh fold of the log."""
    rng = random.Random(3)
    for attempt in range(5):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "console", "serve", "projector"),
            env=child_environment(settings),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            works = partial(_works, database, attempt, process.pid)
            await eventually(works, within_s=90)
            sending = asyncio.create_task(_send_much(writer, attempt))
            await asyncio.sleep(rng.uniform(0.05, 0.6))
        finally:
            process.kill()
            await process.wait()
        await sending
    projector()
    await eventually(counted(database, "user_history", 5 * 2000), within_s=90)
    await eventually(lambda: _equals(database, "SELECT sum(interactions) FROM popularity", 5 * 2000))
    await eventually(lambda: _equals(database, "SELECT count(*) FROM decisions", 5 * 40))
    await eventually(lambda: _equals(database, SEARCH_REACHED, 5 * 40))
    for projection in (user_history.VIEW, popularity.VIEW, decisions_search.INDEX):
        comparison = await verify(settings, projection)
        assert comparison.equal, comparison


SEARCH_REACHED = "SELECT sum(next_offset) FROM projection_offsets WHERE view = 'decisions_search'"


async def test_a_rebuild_repairs_a_damaged_table(
    settings: Settings, database: Database, writer: FactWriter, projector: StartProjector
) -> None:
    """A table that somebody changed by hand is found by `verify` and put right by `rebuild`, while it is written."""
    projector(popularity.VIEW)
    await append(writer, *(viewed("ana", f"i{n % 7}") for n in range(100)))
    await eventually(lambda: _equals(database, "SELECT sum(interactions) FROM popularity", 100))
    await database.execute("UPDATE popularity_v1 SET interactions = 99 WHERE item_id = 'i3'")
    found = await verify(settings, popularity.VIEW)
    assert not found.equal
    assert {(difference.side, '"interactions": 99' in difference.row) for difference in found.sample} == {
        ("live", True),
        ("fresh", False),
    }
    attempt = await rebuild(settings, popularity.VIEW)
    assert attempt.comparison is not None
    assert not attempt.comparison.equal
    assert (await verify(settings, popularity.VIEW)).equal
    await append(writer, viewed("ana", "i3"))
    await eventually(lambda: _equals(database, "SELECT sum(interactions) FROM popularity", 101))


async def test_a_rebuilt_index_takes_over(
    settings: Settings, database: Database, writer: FactWriter, projector: StartProjector
) -> None:
    """The alias moves in one step; what is written afterwards goes to the new index."""
    projector(decisions_search.INDEX)
    await writer.append_all([(event := served(f"d{n}"), meta_of(event, "ana")) for n in range(5)])
    await eventually(lambda: _equals(database, SEARCH_REACHED, 5))
    async with make_elastic(settings) as client:
        await client.delete(index=index_name(settings, "decisions_search"), id="d3", refresh=True)
        attempt = await rebuild(settings, decisions_search.INDEX)
        assert attempt.comparison is not None
        assert not attempt.comparison.equal
        assert (await verify(settings, decisions_search.INDEX)).equal
        event = served("d5")
        await writer.append(event, meta_of(event, "ana"))
        await eventually(lambda: _equals(database, SEARCH_REACHED, 6))
        assert await _documents(client, settings) == 6
        kept = await client.indices.get(index=index_name(settings, "decisions_search_v1*"))
        assert len(kept) == 2  # the old one, too


async def test_a_rebuild_of_what_was_never_filled_is_refused(settings: Settings, database: Database) -> None:
    """There is nothing to compare with, and an empty table must not become the live one."""
    with pytest.raises(Rejected, match="has never been filled"):
        await rebuild(settings, popularity.VIEW)


async def _documents(client: AsyncElasticsearch, settings: Settings) -> int:
    """How many are found; none while the index is missing."""
    answer = await client.options(ignore_status=404).count(index=index_name(settings, "decisions_search"))
    return int(answer.get("count", 0))


async def _send_much(writer: FactWriter, attempt: int) -> None:
    for part in range(20):
        await append(writer, *(viewed(f"u{n}", f"i{n % 9}", attempt) for n in range(100)))
        events = [served(f"{attempt}-{part}-{n}", f"u{n}") for n in range(2)]
        await writer.append_all([(event, meta_of(event, event.user_id)) for event in events])


async def _works(database: Database, attempt: int, pid: int) -> bool:
    """Whether the projector of this process has begun, and what came while none ran is folded."""
    told = f"SELECT count(*) >= 13 FROM projection_workers WHERE worker LIKE '%/{pid}/%'"
    folded = await scalar(database, "SELECT count(*) FROM user_history") or 0
    return folded >= attempt * 2000 and await _equals(database, told, True)


async def _equals(database: Database, query: str, value: Any) -> bool:
    return bool(await scalar(database, query) == value)


async def _is(value: bool) -> bool:
    return value


async def test_a_new_version_takes_over_when_it_has_caught_up(
    database: Database, writer: FactWriter, projector: StartProjector
) -> None:
    """Readers see the old rows until the new ones are complete, also when the columns change."""
    running = projector(popularity.VIEW)
    await append(writer, *(viewed("ana", f"i{n}") for n in range(5)))
    await eventually(counted(database, "popularity", 5))
    await running.stop()
    changed = replace(
        popularity.VIEW,
        version=2,
        table="item_id text PRIMARY KEY, met bigint NOT NULL",
        apply="""
            INSERT INTO {table} AS old (item_id, met) SELECT item_id, count(*) FROM batch GROUP BY item_id
            ON CONFLICT (item_id) DO UPDATE SET met = old.met + excluded.met
        """,
        indexes=(),
    )
    projector(changed)
    await eventually(lambda: _has_column(database, "popularity", "met"))
    assert await scalar(database, "SELECT sum(met) FROM popularity") == 5
    assert await scalar(database, "SELECT sum(interactions) FROM popularity_v1") == 5


async def _has_column(database: Database, table: str, column: str) -> bool:
    query = "SELECT count(*) FROM information_schema.columns WHERE table_schema = current_schema()"
    return bool(await scalar(database, f"{query} AND table_name = '{table}' AND column_name = '{column}'") == 1)


async def test_what_was_removed_by_hand_is_folded_again(
    settings: Settings, database: Database, writer: FactWriter, projector: StartProjector
) -> None:
    """A checkpoint without its table or index would be a read model that is empty and says that it is complete."""
    running = projector(popularity.VIEW, decisions_search.INDEX)
    event = served("d1")
    await writer.append(event, meta_of(event, "ana"))
    await append(writer, viewed("ana"))
    await eventually(counted(database, "popularity", 1))
    await eventually(lambda: _equals(database, SEARCH_REACHED, 1))
    await running.stop()
    await database.execute("DROP TABLE popularity_v1, popularity_v1_seen CASCADE")
    async with make_elastic(settings) as client:
        await client.indices.delete(index=index_name(settings, "decisions_search_v1_1"))
        projector(popularity.VIEW, decisions_search.INDEX)
        await eventually(counted(database, "popularity", 1))
        await eventually(lambda: _documents(client, settings))
        assert await _documents(client, settings) == 1


async def test_columns_changed_without_a_new_version_stop_the_view(
    database: Database, writer: FactWriter, projector: StartProjector
) -> None:
    """The old table would be filled by a statement that was written for another."""
    running = projector(popularity.VIEW)
    await append(writer, viewed("ana"))
    await eventually(counted(database, "popularity", 1))
    await running.stop()
    again = projector(replace(popularity.VIEW, table=popularity.VIEW.table + ", more text"))
    await eventually(lambda: _is("next version" in str(again.health.report())))
    assert not again.health.ready
