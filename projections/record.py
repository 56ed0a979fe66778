"""A record of the log as people may see it: its headers, and its fields without what is personal."""

from collections.abc import Mapping
from typing import Any

import orjson

from infra.kafka.at import open_records
from infra.kafka.records import Raw
from infra.registry.client import RegistryClient
from infra.settings import Settings
from schemas.codec import Codec, schema_id_of
from schemas.contracts import contracts
from schemas.errors import Incompatible, Invalid, NotFound
from schemas.position import Position

PERSONAL = "<personal>"


async def shown(settings: Settings, position: str | None) -> dict[str, Any] | None:
    """The record at a position; None when the log no longer has it.

    Raises:
        Unavailable: Kafka or the registry does not answer.
    """
    if not position:
        return None
    place = Position.parse(position)
    try:
        async with open_records(settings, place.topic) as records:
            (raw,) = await records.read(place.partition, [place.offset])
    except (NotFound, Invalid):
        return None
    return {
        "headers": {name: (value or b"").decode(errors="replace") for name, value in raw.headers},
        "size_bytes": len(raw.value or b""),
        **await _decoded(settings, raw),
    }


async def _decoded(settings: Settings, raw: Raw) -> dict[str, Any]:
    told: dict[str, Any] = {"schema_id": None, "event": None, "fields": None, "unreadable": None}
    try:
        schema_id = told["schema_id"] = schema_id_of(raw.value)
        codec = Codec({})
        codec.learn(schema_id, await _schema(settings, schema_id))
        name, fields = codec.decode_fields(raw.value or b"")
        return told | {"event": name, "fields": without_personal(name, fields)}
    except Incompatible as fault:
        return told | {"unreadable": fault.detail}


async def _schema(settings: Settings, schema_id: int) -> Mapping[str, Any]:
    async with RegistryClient(settings.registry.url) as registry:
        try:
            schema: Mapping[str, Any] = orjson.loads(await registry.schema_by_id(schema_id))
        except NotFound as fault:
            raise Incompatible(f"the registry does not know schema {schema_id}", code="unknown_schema") from fault
    return schema


def without_personal(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an event, with those that describe a person veiled."""
    personal = contracts()[name].personal
    return {field: PERSONAL if field in personal and value else _plain(value) for field, value in fields.items()}


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value
