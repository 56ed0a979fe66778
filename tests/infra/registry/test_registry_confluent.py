import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.schema_registry import (
    Schema,
    SchemaRegistryClient,
    SchemaRegistryError,
    topic_record_subject_name_strategy,
)
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from infra.kafka.connect import librdkafka_options
from infra.kafka.topics import create_topics
from infra.settings import Settings
from schemas.topics import Topic

Serve = Callable[[], AbstractAsyncContextManager[str]]

RATED = json.dumps(
    {
        "type": "record",
        "name": "Rated",
        "namespace": "shop",
        "fields": [
            {"name": "user_id", "type": "string"},
            {"name": "stars", "type": ["null", "double"], "default": None},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        ],
    }
)
RATED_LATER = json.dumps(
    {**json.loads(RATED), "fields": [*json.loads(RATED)["fields"], {"name": "why", "type": "string", "default": ""}]}
)
RATED_BADLY = json.dumps({**json.loads(RATED), "fields": [{"name": "user_id", "type": "int"}]})


def produced(url: str, settings: Settings, value: dict[str, Any]) -> bytes:
    """A record written by Confluent's serializer, with the schema registered on the way."""
    with SchemaRegistryClient({"url": url}) as client:
        conf = {"auto.register.schemas": True, "subject.name.strategy": topic_record_subject_name_strategy}
        topic = f"{settings.topic_prefix}ratings"
        payload = AvroSerializer(client, RATED, conf=conf)(value, SerializationContext(topic, MessageField.VALUE))
    producer = Producer(librdkafka_options(settings.kafka))
    producer.produce(topic, payload)
    assert producer.flush(60) == 0
    return bytes(payload)


def consumed(url: str, settings: Settings, reader: str) -> Any:
    """The same record, read by Confluent's deserializer with a schema of the reader's own."""
    topic = f"{settings.topic_prefix}ratings"
    consumer = Consumer({**librdkafka_options(settings.kafka), "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    try:
        message = consumer.poll(60)
    finally:
        consumer.close()
    assert message is not None
    assert message.error() is None
    with SchemaRegistryClient({"url": url}) as client:
        return AvroDeserializer(client, reader)(message.value(), SerializationContext(topic, MessageField.VALUE))


def subjects(url: str) -> list[str]:
    with SchemaRegistryClient({"url": url}) as client:
        return list(client.get_subjects())


async def test_confluents_serializers_go_the_whole_way(serve: Serve, settings: Settings) -> None:
    """Connect, Flink, ksqlDB and every console read our topics with these classes, unchanged."""
    async with serve() as url:
        await create_topics(settings, [Topic("ratings", "facts")])
        value = {"user_id": "42", "stars": 4.5, "at": 1_700_000_000_000_000}
        payload = await asyncio.to_thread(produced, url, settings, value)
        assert payload[:5] == b"\x00\x00\x00\x00\x01"
        got = await asyncio.to_thread(consumed, url, settings, RATED_LATER)
        assert (got["user_id"], got["stars"], got["why"]) == ("42", 4.5, "")
        names = await asyncio.to_thread(subjects, url)
        assert names == [f"{settings.topic_prefix}ratings-shop.Rated"]


def exercised(url: str) -> dict[str, Any]:
    """Every call of Confluent's client that has to do with Avro schemas."""
    with SchemaRegistryClient({"url": url}) as client:
        seen: dict[str, Any] = {"id": client.register_schema("s", Schema(RATED, "AVRO"))}
        seen["again"] = client.register_schema("s", Schema(RATED, "AVRO"), normalize_schemas=True)
        seen["elsewhere"] = client.register_schema("t", Schema(RATED, "AVRO"))
        seen["next"] = client.register_schema_full_response("s", Schema(RATED_LATER, "AVRO")).schema_id
        client.clear_caches()
        seen["by id"] = client.get_schema(1).schema_str
        seen["lookup"] = client.lookup_schema("s", Schema(RATED, "AVRO")).version
        seen["latest"] = client.get_latest_version("s").version
        seen["first"] = client.get_version("s", 1).schema_id
        seen["versions"] = client.get_versions("s")
        seen["subjects"] = client.get_subjects()
        seen["of id"] = client.get_subjects_by_schema_id(1)
        seen["uses"] = [(v.subject, v.version) for v in client.get_schema_versions(1)]
        seen["types"] = client.get_schema_types()
        seen["good"] = client.test_compatibility("s", Schema(RATED, "AVRO"))
        seen["bad"] = client.test_compatibility("s", Schema(RATED_BADLY, "AVRO"))
        seen["bad for all"] = client.test_compatibility_all_versions("s", Schema(RATED_BADLY, "AVRO"))
        seen["level"] = client.get_compatibility()
        seen["set"] = client.set_compatibility("s", "NONE")["compatibility"]
        seen["own level"] = client.get_compatibility("s")
        seen["config"] = client.get_config("s").compatibility_level
        seen["mode"] = client.get_global_mode()
        seen["deleted"] = client.delete_version("s", 1)
        seen["hidden"] = client.get_versions("s", deleted=True)
        client.delete_subject("t")
        seen["gone"] = client.delete_subject("t", permanent=True)
    return seen


async def test_every_call_of_confluents_client_is_understood(serve: Serve) -> None:
    """Tools are built on these calls; what they send, with all its parameters, has to be taken."""
    async with serve() as url:
        seen = await asyncio.to_thread(exercised, url)
    assert json.loads(seen.pop("by id")) == json.loads(RATED)
    assert seen == {
        "id": 1,
        "again": 1,
        "elsewhere": 1,
        "next": 2,
        "lookup": 1,
        "latest": 2,
        "first": 1,
        "versions": [1, 2],
        "subjects": ["s", "t"],
        "of id": ["s", "t"],
        "uses": [("s", 1), ("t", 1)],
        "types": ["AVRO"],
        "good": True,
        "bad": False,
        "bad for all": False,
        "level": "FULL_TRANSITIVE",
        "set": "NONE",
        "own level": "NONE",
        "config": "NONE",
        "mode": "READWRITE",
        "deleted": 1,
        "hidden": [1, 2],
        "gone": [1],
    }


@pytest.mark.parametrize(
    ("ask", "status", "code"),
    [
        (lambda client: client.get_latest_version("none"), 404, 40401),
        (lambda client: client.get_version("s", 9), 404, 40402),
        (lambda client: client.get_schema(99), 404, 40403),
        (lambda client: client.lookup_schema("s", Schema(RATED_BADLY, "AVRO")), 404, 40403),
        (lambda client: client.register_schema("s", Schema(RATED_BADLY, "AVRO")), 409, 409),
        (lambda client: client.register_schema("s", Schema("{", "AVRO")), 422, 42201),
        (lambda client: client.register_schema("s", Schema("{}", "JSON")), 422, 42201),
        (lambda client: client.set_compatibility("s", "SOMEHOW"), 422, 42203),
    ],
)
async def test_confluents_client_sees_confluents_error_codes(
    serve: Serve, ask: Callable[[SchemaRegistryClient], object], status: int, code: int
) -> None:
    """Tools decide by these numbers whether to register, to give up or to try again."""

    def asked(url: str) -> SchemaRegistryError:
        with SchemaRegistryClient({"url": url}) as client:
            client.register_schema("s", Schema(RATED, "AVRO"))
            with pytest.raises(SchemaRegistryError) as raised:
                ask(client)
        return raised.value

    async with serve() as url:
        error = await asyncio.to_thread(asked, url)
    assert (error.http_status_code, error.error_code) == (status, code)
