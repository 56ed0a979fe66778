"""Making the log ready for a service: topics exist, contracts are registered, bytes can be read."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any

from infra.kafka.records import Decoder
from infra.kafka.topics import create_topics, physical
from infra.registry.client import RegistryClient
from infra.settings import Settings
from schemas.codec import Codec
from schemas.contracts import Contract, contracts
from schemas.errors import Incompatible, NotFound
from schemas.topics import COMMANDS_SUFFIX, DECIDED


async def open_decoder(settings: Settings) -> Decoder:
    """Make missing topics, register every contract, and answer what turns records into events and back.

    Raises:
        Incompatible: a contract may not follow the one that is registered; the message names the field.
        Unavailable: Kafka or the registry does not answer.
    """
    await create_topics(settings)
    async with RegistryClient(settings.registry.url) as registry:
        wanted = [(subject, c) for c in contracts().values() for subject in subjects(settings, c)]
        ids = await asyncio.gather(*(_registered(registry, subject, c) for subject, c in wanted))

    async def fetch(schema_id: int) -> Mapping[str, Any]:
        async with RegistryClient(settings.registry.url) as registry:
            try:
                schema: Mapping[str, Any] = json.loads(await registry.schema_by_id(schema_id))
            except NotFound as fault:
                raise Incompatible(f"the registry does not know schema {schema_id}", code="unknown_schema") from fault
        return schema

    return Decoder(Codec({c.full_name: i for (_, c), i in zip(wanted, ids, strict=True)}), fetch)


async def _registered(registry: RegistryClient, subject: str, contract: Contract) -> int:
    try:
        return await registry.register(subject, contract.json)
    except Incompatible as fault:
        raise Incompatible(
            f"{contract.full_name} cannot be registered under {subject}: {fault.detail}", code=fault.code
        ) from fault


def subjects(settings: Settings, contract: Contract) -> Iterator[str]:
    """Subjects of a contract: topic and record name, once for each topic that it may stand on."""
    for topic in _topics(contract):
        yield f"{physical(settings, topic)}-{contract.full_name}"


def _topics(contract: Contract) -> tuple[str, ...]:
    if contract.is_outcome or contract.topic is None:
        return DECIDED
    return (contract.topic + COMMANDS_SUFFIX,) if contract.kind == "command" else (contract.topic,)
