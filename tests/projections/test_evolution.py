"""Events of earlier versions are read everywhere: by projections, rebuilds, replays, processors, from dead letters."""

import io
import json
from collections.abc import AsyncIterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import aiohttp
import fastavro
import pytest
from aiokafka import AIOKafkaProducer
from psycopg import AsyncConnection
from uuid6 import uuid7

from commands.api.app import create_app as create_commands
from commands.processor import worker
from infra.access.client import headers_of
from infra.kafka.connect import aiokafka_options
from infra.kafka.facts import FactWriter
from infra.kafka.partitioner import partition_of
from infra.kafka.ranges import ranges_now
from infra.kafka.records import Decoder
from infra.kafka.replay import recorded, replay
from infra.kafka.topics import create_topics, physical
from infra.registry import enlist
from infra.registry.client import RegistryClient
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from projections.rebuild import verify
from projections.testing import minute
from projections.views import catalogue, user_history
from schemas.catalog import ItemAdded
from schemas.codec import FRAME
from schemas.contracts import Contract, contracts
from schemas.deadletters import RetryRequested
from schemas.envelope import Meta
from schemas.errors import Incompatible
from schemas.interactions import InteractionRecorded
from schemas.upcast import UPCASTERS, Fields, upcast

from ..eventually import eventually
from ..roles import running
from .running import StartProjector
from .test_parking import append, looked
from .test_parking_api import serving

Database = AsyncConnection[dict[str, Any]]
Schema = dict[str, Any]

ITEM = ItemAdded.AVRO
STARS, RATING, INTERACTION = (
    f"retrace.interactions.{n}" for n in ("StarsGiven", "RatingRecorded", "InteractionRecorded")
)
THUMB = "retrace.interactions.ThumbGiven"
TIME = {"type": "long", "logicalType": "timestamp-micros"}


def without(full_name: str, *fields: str) -> Schema:
    """Today's schema as it was before these fields came."""
    schema = json.loads(contracts()[full_name].json)
    return {**schema, "fields": [field for field in schema["fields"] if field["name"] not in fields]}


class OldLog:
    """Writes records as earlier versions of Retrace did."""

    def __init__(self, settings: Settings, producer: AIOKafkaProducer, registry: RegistryClient) -> None:
        self._settings = settings
        self._producer = producer
        self._registry = registry
        self._next: dict[tuple[str, int], int] = {}

    async def append(self, topic: str, schema: Schema, fields: Fields, key: str) -> None:
        """A record with the schema of its time."""
        name = f"{schema['namespace']}.{schema['name']}"
        schema_id = await self._registry.register(f"{physical(self._settings, topic)}-{name}", json.dumps(schema))
        body = io.BytesIO()
        fastavro.schemaless_writer(body, fastavro.parse_schema(schema, named_schemas={}), fields)
        partition = partition_of(key, self._settings.kafka.partitions)
        offset = self._next.setdefault((topic, partition), 0)
        self._next[topic, partition] += 1
        meta = Meta(
            id=uuid7(),
            type=name,
            source="old",
            subject=key,
            time=minute(0),
            causation_id=str(uuid7()),
            expected_offset=offset,
            command_offset=offset,
            version=1,
        )
        await self._producer.send_and_wait(
            physical(self._settings, topic),
            FRAME.pack(0, schema_id) + body.getvalue(),
            key=key.encode(),
            partition=partition,
            headers=meta.headers(),
        )

    async def answered(self, key: str) -> None:
        """The command that an event of this key answered, long ago; nobody reads it again."""
        name, partition = (
            physical(self._settings, "catalog.commands"),
            partition_of(key, self._settings.kafka.partitions),
        )
        await self._producer.send_and_wait(name, b"", key=key.encode(), partition=partition)


@pytest.fixture
async def old(settings: Settings) -> AsyncIterator[OldLog]:
    await create_topics(settings)
    async with (
        RegistryClient(settings.registry.url) as registry,
        AIOKafkaProducer(**aiokafka_options(settings.kafka)) as producer,
    ):
        yield OldLog(settings, producer, registry)


async def two_versions_back(old: OldLog) -> None:
    """Items of the two versions before today's: first without categories and attributes, then with categories."""
    first, second = without(ITEM, "description", "categories", "attributes"), without(ITEM, "attributes")
    await old.append("catalog", first, {"item_id": "1", "title": "Alien"}, "1")
    fields = {"item_id": "2", "title": "Brazil", "description": None, "categories": ["satire"]}
    await old.append("catalog", second, fields, "2")
    for key in ("1", "2"):
        await old.answered(key)


async def three_forms(old: OldLog) -> None:
    """What a user did in the three forms before today's; two of them had other names."""
    stars, rating = (json.loads(contracts()[name].json) for name in (STARS, RATING))
    at = minute(0)
    await old.append("interactions", stars, {"user_id": "ana", "item_id": "1", "stars": 4, "given_at": at}, "ana")
    await old.append("interactions", rating, {"user_id": "ana", "item_id": "2", "rating": 3.5, "rated_at": at}, "ana")
    first = without(INTERACTION, "value", "decision_id")
    fields = {"user_id": "ana", "item_id": "3", "kind": "view", "occurred_at": at}
    await old.append("interactions", first, fields, "ana")


async def rows(database: Database, query: str) -> list[dict[str, Any]]:
    return await (await database.execute(query.encode())).fetchall()


async def test_read_models_and_rebuilds_hold_old_events(
    settings: Settings, old: OldLog, database: Database, projector: StartProjector
) -> None:
    """A log is kept for ever, so its first record is read by the newest code."""
    await two_versions_back(old)
    await three_forms(old)
    projector(catalogue.VIEW, user_history.VIEW)
    query = "SELECT item_id, kind, value FROM user_history ORDER BY item_id"
    await eventually(lambda: _has(database, "user_history", 3))
    assert [(row["item_id"], row["kind"], row["value"]) for row in await rows(database, query)] == [
        ("1", "rate", 4.0),
        ("2", "rate", 3.5),
        ("3", "view", None),
    ]
    await eventually(lambda: _has(database, "catalogue", 2))
    found = await rows(database, "SELECT item_id, title, categories, attributes FROM catalogue ORDER BY item_id")
    assert [tuple(row.values()) for row in found] == [("1", "Alien", [], {}), ("2", "Brazil", ["satire"], {})]
    for view in (catalogue.VIEW, user_history.VIEW):
        assert (await verify(settings, view)).equal


async def test_a_replay_gives_old_events_in_todays_form(settings: Settings, old: OldLog) -> None:
    """A training set of last year's log has one form of rows, whatever the log holds."""
    await three_forms(old)
    decoder = await open_decoder(settings)
    ranges = await ranges_now(settings, ["interactions"])
    events = [one.event async for one in recorded(settings, decoder, ranges)]
    assert [type(event) for event in events] == [InteractionRecorded] * 3
    assert [(event.kind, event.value) for event in events] == [("rate", 4.0), ("rate", 3.5), ("view", None)]
    tables = [piece async for piece in replay(settings, decoder, ranges)]
    values = [value for piece in tables for value in piece[INTERACTION].sort("_offset")["value"]]
    assert {name for piece in tables for name in piece} == {INTERACTION}
    assert values == [4.0, 3.5, None]


async def test_a_processor_decides_on_old_events(settings: Settings, old: OldLog) -> None:
    """An item that was added three versions ago can be changed today, and cannot be added again."""
    await two_versions_back(old)
    async with (
        running(worker.work, settings, "processor") as deciding,
        serving(create_commands, settings, "commands") as http,
        aiohttp.ClientSession(http.url, headers=headers_of(settings)) as session,
    ):

        async def decides() -> bool:
            return deciding.ready

        await eventually(decides, within_s=60)
        for item in ("1", "2"):
            async with session.post("/items", json={"item_id": item, "title": "again"}) as answer:
                assert (answer.status, (await answer.json())["code"]) == (409, "item_exists")
            async with session.patch(f"/items/{item}", json={"title": "new"}) as answer:
                assert answer.status == 200, await answer.text()


def thumb() -> Schema:
    fields = [{"name": n, "type": t, "doc": "."} for n, t in (("who", "string"), ("what", "string"), ("at", TIME))]
    return {"type": "record", "name": "ThumbGiven", "namespace": "retrace.interactions", "doc": ".", "kind": "event",
            "topic": "interactions", "key": "who", "retired": True, "fields": fields}  # fmt: skip


def thumb_to_interaction(fields: Fields) -> tuple[str, Fields]:
    said = {"user_id": fields["who"], "item_id": fields["what"], "kind": "like", "value": None, "decision_id": None}
    return INTERACTION, {**said, "occurred_at": fields["at"]}


async def test_a_dead_letter_is_taken_once_its_upcaster_is_there(
    old: OldLog, database: Database, writer: FactWriter, projector: StartProjector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A form that was forgotten: nothing is lost while somebody writes the function that reads it."""
    before = projector(user_history.VIEW)
    await looked(writer, "eva", "x")
    await old.append("interactions", thumb(), {"who": "ana", "what": "7", "at": minute(0)}, "ana")
    await looked(writer, "ana", "8")
    await eventually(lambda: _stands_aside(database, 2))
    letters = await rows(database, "SELECT code, cause FROM projection_parked WHERE role = 'poison'")
    assert letters[0]["code"] == "unknown_type"
    assert THUMB in letters[0]["cause"]
    await before.stop()

    read = MappingProxyType({**contracts(), THUMB: Contract(thumb(), "interactions")})
    monkeypatch.setattr("schemas.codec.contracts", lambda: read)
    monkeypatch.setattr("schemas.codec.upcast", partial(upcast, upcasters={**UPCASTERS, THUMB: thumb_to_interaction}))
    projector(user_history.VIEW)
    await append(writer, RetryRequested(view="user_history", code="unknown_type"))
    await eventually(lambda: _stands_aside(database, 0))
    query = 'SELECT user_id, item_id, kind FROM user_history ORDER BY user_id, "offset"'
    assert [tuple(row.values()) for row in await rows(database, query)] == [
        ("ana", "7", "like"),
        ("ana", "8", "view"),
        ("eva", "x", "view"),
    ]


async def test_a_service_does_not_start_on_a_contract_that_breaks_readers(
    settings: Settings, decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Better no service than one that writes what nobody else can read; the message names the field."""
    changed = without(ITEM)
    changed["fields"] = [*changed["fields"], {"name": "colour", "type": "string", "doc": "Which."}]
    broken: Mapping[str, Contract] = {**contracts(), ITEM: Contract(changed, "catalog")}
    monkeypatch.setattr(enlist, "contracts", lambda: broken)
    with pytest.raises(Incompatible) as refused:
        await open_decoder(settings)
    assert ITEM in refused.value.detail
    assert "field 'colour' has no default" in refused.value.detail
    assert "give it a default" in refused.value.detail


async def _has(database: Database, view: str, number: int) -> bool:
    found = await rows(database, f"SELECT to_regclass('{view}') IS NOT NULL AS made")
    return bool(found[0]["made"]) and len(await rows(database, f"SELECT 1 AS one FROM {view}")) == number


async def _stands_aside(database: Database, number: int) -> bool:
    return len(await rows(database, "SELECT 1 AS one FROM projection_parked")) == number
