"""Somebody who was erased is in no personal view, however the topics interleave."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest
from elasticsearch import AsyncElasticsearch
from psycopg import AsyncConnection

from infra.elastic import make_elastic
from infra.postgres import connect
from infra.settings import Settings
from projections.documents import Documents
from projections.runner import declared
from projections.table import Table
from projections.testing import Log, batch_of, columns_of, minute, published
from projections.view import View, topics_of
from projections.views import decisions, decisions_search, popularity, user_history, user_profile
from schemas.decisions import RecommendationServed, ScoredItem
from schemas.envelope import Recorded
from schemas.interactions import InteractionRecorded
from schemas.profiles import ConsentWithdrawn, PreferencesChanged, UserErased, UserRegistered

PEOPLE = ("ana", "ben", "cem")
GONE = frozenset({"ana", "cem"})
PERSONAL = [view for view in declared() if isinstance(view, View) and view.personal]
each = pytest.mark.parametrize("view", PERSONAL, ids=lambda view: view.name)


def served(user_id: str, number: int) -> RecommendationServed:
    return RecommendationServed(
        user_id=user_id,
        decision_id=f"{user_id}-{number}",
        model="movies",
        source="model",
        positions=(),
        history_length=3,
        history_sha256="f" * 64,
        candidates=9,
        filtered=("secret",),
        limit=1,
        items=(ScoredItem(item_id="secret", score=1.0),),
        served_at=minute(number),
        latency_ms=1.0,
        server="s",
        sequence=number,
    )


def history() -> dict[str, list[Recorded]]:
    """A little of everything, by topic; the erasures are in the middle of what happens elsewhere."""
    log, topics = Log(), dict[str, list[Recorded]]()
    for number in range(4):
        for user_id in PEOPLE:
            viewed = InteractionRecorded(user_id=user_id, item_id=f"i{number}", kind="view", occurred_at=minute(number))
            id = uuid5(NAMESPACE_URL, f"{user_id}/{number // 2}")  # every other one is sent again
            topics.setdefault("interactions", []).append(log.add(viewed, id=id))
            topics.setdefault("decisions", []).append(log.add(served(user_id, number)))
    for event in (
        *(UserRegistered(user_id=user_id, name="enc:1:x:y") for user_id in PEOPLE),
        PreferencesChanged(user_id="ana", hidden_categories=("horror",)),
        *(UserErased(user_id=user_id, reason="asked") for user_id in sorted(GONE)),
        ConsentWithdrawn(user_id="ben", purpose="training"),
    ):
        topics.setdefault("profiles", []).append(log.add(event))
    return topics


def interleaved(topics: dict[str, list[Recorded]], chance: random.Random) -> list[list[Recorded]]:
    """The same events in batches of one topic each, in any order that keeps that of each topic."""
    left = {topic: list(events) for topic, events in topics.items()}
    batches = []
    while left:
        topic = chance.choice(sorted(left))
        size = chance.randint(1, len(left[topic]))
        batches.append(left[topic][:size])
        left[topic] = left[topic][size:]
        if not left[topic]:
            del left[topic]
    return batches


async def folded(
    database: AsyncConnection[Any],
    settings: Settings,
    view: View,
    batches: Sequence[list[Recorded]],
    *,
    many: bool = False,
) -> list[dict[str, Any]]:
    """What the view shows after these batches, beginning with nothing."""
    table = Table(view, settings.postgres.db_schema)
    await table.drop(database)
    await database.execute("DROP TABLE IF EXISTS pg_temp.batch")
    await table.create(database)
    await database.execute("TRUNCATE erased_people, projection_erasures")
    await table.stage_in(database)
    for events in batches:
        async with database.transaction():
            await table.fold(database, columns_of(events) if many else batch_of(events))
    return await published(database, table)


def wanted(view: View) -> dict[str, list[Recorded]]:
    return {topic: events for topic, events in history().items() if topic in topics_of(view)}


@each
async def test_every_interleaving_forgets_the_same_people(
    view: View, database: AsyncConnection[Any], settings: Settings
) -> None:
    """Also a rebuild, which reads one topic after the other: what it comes to is what the live table is."""
    topics = wanted(view)
    orders = [list(topics.values()), list(reversed(topics.values()))]
    orders += [interleaved(topics, random.Random(seed)) for seed in range(25)]
    shown = [await folded(database, settings, view, order) for order in orders]
    assert all(rows == shown[0] for rows in shown)
    assert await folded(database, settings, view, orders[0], many=True) == shown[0]
    assert {row[view.personal or ""] for row in shown[0]} & GONE == set()
    assert any(row[view.personal or ""] == "ben" for row in shown[0])


@each
async def test_the_others_keep_what_they_have(view: View, database: AsyncConnection[Any], settings: Settings) -> None:
    """To the others it is as if the erased had never been there."""
    topics = wanted(view)
    rows = await folded(database, settings, view, list(topics.values()))
    others = [[one for one in events if one.meta.subject not in GONE] for events in topics.values()]
    alone = await folded(database, settings, view, [events for events in others if events])
    assert [row for row in rows if row[view.personal or ""] in PEOPLE] == alone


async def test_decisions_stay_countable_and_tell_nothing(database: AsyncConnection[Any], settings: Settings) -> None:
    """The numbers of a server have no gap, or the audit would look for decisions that were never lost."""
    rows = await folded(database, settings, decisions.VIEW, interleaved(wanted(decisions.VIEW), random.Random(3)))
    assert len(rows) == 4 * len(PEOPLE)
    gone = [row for row in rows if row["user_id"].startswith("erased/")]
    assert len(gone) == 4 * len(GONE)
    assert not [row for row in gone if "secret" in repr(row) or "f" * 64 in repr(row)]


async def test_what_nobody_is_named_in_stays(database: AsyncConnection[Any], settings: Settings) -> None:
    """How often an item was met is about the item."""
    table = Table(popularity.VIEW, settings.postgres.db_schema)
    await table.create(database)
    await table.stage_in(database)
    async with database.transaction():
        await table.fold(database, batch_of(history()["interactions"]))
    assert sum(row["interactions"] for row in await published(database, table)) == 2 * len(PEOPLE)


async def test_how_much_was_removed_is_on_record(database: AsyncConnection[Any], settings: Settings) -> None:
    """The eraser tells it in its report."""
    topics = wanted(user_history.VIEW)
    await folded(database, settings, user_history.VIEW, [topics["interactions"], topics["profiles"]])
    rows = await (await database.execute("SELECT * FROM projection_erasures ORDER BY user_id")).fetchall()
    assert rows == [{"store": "user_history_v1", "user_id": user_id, "removed": 2} for user_id in sorted(GONE)]


@pytest.mark.parametrize("name", ["user_history_v1_0123abcd", "user_history_v0", "user_history_v0_89abcdef"])
async def test_a_table_that_is_kept_to_go_back_to_forgets_as_well(
    name: str, database: AsyncConnection[Any], settings: Settings
) -> None:
    """Nothing is folded into it, be it of an earlier version, so the live one's erasures reach over to it."""
    topics, schema = wanted(user_history.VIEW), settings.postgres.db_schema
    await folded(database, settings, user_history.VIEW, [topics["interactions"]])
    kept = Table(user_history.VIEW, schema, name)
    await kept.create(database)
    async with database.transaction():
        await kept.fold(database, batch_of(topics["interactions"]))
    async with database.transaction():
        await Table(user_history.VIEW, schema).fold(database, batch_of(topics["profiles"]))
    assert {row["user_id"] for row in await published(database, kept)} == {"ben"}
    for table in (kept.name, user_history.VIEW.physical):
        seen = await (await database.execute(f"SELECT DISTINCT key FROM {table}_seen".encode())).fetchall()
        assert seen == [{"key": "ben"}]


async def test_who_was_erased_is_published(database: AsyncConnection[Any], settings: Settings) -> None:
    """Queries and recommendations answer 410 by it."""
    await folded(database, settings, user_profile.VIEW, list(wanted(user_profile.VIEW).values()))
    rows = await (await database.execute("SELECT user_id, reason FROM erased_people ORDER BY user_id")).fetchall()
    assert rows == [{"user_id": user_id, "reason": "asked"} for user_id in sorted(GONE)]


@pytest.mark.parametrize("first", ["fold", "erasure"])
async def test_a_fold_and_an_erasure_at_the_same_time(
    first: str, database: AsyncConnection[Any], settings: Settings
) -> None:
    """Two lanes of one view, each in a transaction that does not see the other: one of them waits."""
    topics, schema = wanted(user_history.VIEW), settings.postgres.db_schema
    await folded(database, settings, user_history.VIEW, [])
    table = Table(user_history.VIEW, schema)
    async with await connect(settings, "other") as other:
        await table.stage_in(other)
        order = ("interactions", "profiles") if first == "fold" else ("profiles", "interactions")
        async with database.transaction():
            await table.fold(database, batch_of(topics[order[0]]))

            async def second() -> None:
                async with other.transaction():
                    await table.fold(other, batch_of(topics[order[1]]))

            task = asyncio.create_task(second())
            await asyncio.sleep(0.3)
            assert not task.done(), "it waits for what the other one has not committed"
        await asyncio.wait_for(task, 60)
    assert {row["user_id"] for row in await published(database, table)} == {"ben"}


async def test_who_reads_who_was_erased_waits_for_nobody(database: AsyncConnection[Any], settings: Settings) -> None:
    """A query comes while an erasure is being folded."""
    await folded(database, settings, user_profile.VIEW, [])
    table = Table(user_profile.VIEW, settings.postgres.db_schema)
    async with database.transaction(), await connect(settings, "reader") as reader:
        await table.fold(database, batch_of(wanted(user_profile.VIEW)["profiles"]))
        await reader.execute("SET statement_timeout = '30s'")
        rows = await (await reader.execute("SELECT * FROM erased_people")).fetchall()
        assert rows == []


@pytest.fixture
async def elastic(settings: Settings) -> AsyncIterator[AsyncElasticsearch]:
    async with make_elastic(settings) as client:
        yield client


async def found(client: AsyncElasticsearch, documents: Documents) -> dict[str, Any]:
    """Every document, by id."""
    await client.indices.refresh(index=documents.name)
    answer = await client.search(index=documents.name, size=1000)
    return {hit["_id"]: hit["_source"] for hit in answer["hits"]["hits"]}


@pytest.mark.parametrize("seed", range(6))
async def test_no_interleaving_leaves_documents_of_the_erased(
    seed: int, elastic: AsyncElasticsearch, settings: Settings
) -> None:
    """Elasticsearch has no transactions; the graves are asked before and after each write."""
    documents = Documents(decisions_search.INDEX, settings, elastic)
    await documents.create()
    topics = {name: events for name, events in history().items() if name in ("decisions", "profiles")}
    orders = [list(topics.values()), list(reversed(topics.values()))]
    for events in [*orders, *(interleaved(topics, random.Random(s)) for s in range(6))][seed]:
        await documents.fold(batch_of(events))
    assert set(await found(elastic, documents)) == {f"ben-{number}" for number in range(4)}


async def test_an_index_beside_the_live_one_forgets_as_well(elastic: AsyncElasticsearch, settings: Settings) -> None:
    """One is being filled, another is kept to go back to: neither is a place to be remembered in."""
    live = Documents(decisions_search.INDEX, settings, elastic)
    await live.create()
    beside = Documents(decisions_search.INDEX, settings, elastic, f"{live.alias}_2")
    await beside.create(beside.name)
    topics = history()
    for documents in (live, beside):
        await documents.fold(batch_of(topics["decisions"]))
    await live.fold(batch_of(topics["profiles"]))
    for documents in (live, beside):
        assert set(await found(elastic, documents)) == {f"ben-{number}" for number in range(4)}


async def test_erased_while_the_documents_are_being_written(
    elastic: AsyncElasticsearch, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The narrowest race: between the look for graves and the write."""
    documents, other = (Documents(decisions_search.INDEX, settings, elastic) for _ in range(2))
    await documents.create()
    topics, write = history(), Documents._write

    async def late(self: Documents, *arguments: Any) -> None:
        if self is documents:
            await other.fold(batch_of(topics["profiles"]))
        await write(self, *arguments)

    monkeypatch.setattr(Documents, "_write", late)
    await documents.fold(batch_of(topics["decisions"]))
    assert set(await found(elastic, documents)) == {f"ben-{number}" for number in range(4)}


async def test_an_index_of_an_earlier_version_forgets_as_well(elastic: AsyncElasticsearch, settings: Settings) -> None:
    """Nobody writes to it any more, and it stays until somebody removes it."""
    live = Documents(replace(decisions_search.INDEX, version=decisions_search.INDEX.version + 1), settings, elastic)
    earlier, topics = Documents(decisions_search.INDEX, settings, elastic), history()
    for documents in (live, earlier):
        await documents.create()
        await documents.fold(batch_of(topics["decisions"]))
    await live.fold(batch_of(topics["profiles"]))
    assert set(await found(elastic, earlier)) == {f"ben-{number}" for number in range(4)}
