"""Making the log ready for a service: topics exist, contracts are registered, bytes can be read."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
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
        Incompatible: contracts may not follow those that are registered; the message names every field and what to do.
        Unavailable: Kafka or the registry does not answer.
    """
    await create_topics(settings)
    async with RegistryClient(settings.registry.url) as registry:
        wanted = [(subject, c) for c in contracts().values() for subject in subjects(settings, c)]
        ids = await _registered(registry, wanted)

    async def fetch(schema_id: int) -> Mapping[str, Any]:
        async with RegistryClient(settings.registry.url) as registry:
            try:
                schema: Mapping[str, Any] = json.loads(await registry.schema_by_id(schema_id))
            except NotFound as fault:
                raise Incompatible(f"the registry does not know schema {schema_id}", code="unknown_schema") from fault
        return schema

    return Decoder(Codec({c.full_name: i for (_, c), i in zip(wanted, ids, strict=True)}), fetch)


async def _registered(registry: RegistryClient, wanted: Sequence[tuple[str, Contract]]) -> list[int]:
    """Ids, in the order of what is wanted; all contracts that are refused are told at once."""
    answers = await asyncio.gather(*(registry.register(s, c.json) for s, c in wanted), return_exceptions=True)
    ids, refused = [], {}
    for (subject, contract), answer in zip(wanted, answers, strict=True):
        if isinstance(answer, Incompatible):
            refused[contract.full_name] = f"{contract.full_name} may not follow what {subject} holds: {answer.detail}"
        elif isinstance(answer, BaseException):
            raise answer
        else:
            ids.append(answer)
    if refused:
        raise Incompatible("\n".join(refused.values()), code="incompatible_schema")
    return ids


def subjects(settings: Settings, contract: Contract) -> Iterator[str]:
    """Subjects of a contract: topic and record name, once for each topic that it may stand on."""
    for topic in topics_of(contract):
        yield f"{physical(settings, topic)}-{contract.full_name}"


def topics_of(contract: Contract) -> tuple[str, ...]:
    """Topics that records of a contract may stand on, without prefix."""
    if contract.is_outcome or contract.topic is None:
        return DECIDED
    return (contract.topic + COMMANDS_SUFFIX,) if contract.kind == "command" else (contract.topic,)
