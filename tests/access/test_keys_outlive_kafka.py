"""Who gets in while the log is away: on a broker of its own, for it is ended here."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias
from uuid import uuid4

import pytest

from infra.access.gate import Gate
from infra.access.key import ApiKey, new_key, parse
from infra.health import Health
from infra.kafka.append import Entry, Landed
from infra.kafka.decided import KafkaLog, batch_producer
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from infra.stack.stack import Stack
from schemas.access import ApiKeyCreated, ApiKeyRevoked
from schemas.envelope import Meta
from schemas.errors import Problem
from schemas.topics import TOPICS

SERVERS = ("kafka", "registry")
NOW = datetime.now(UTC)


Keep: TypeAlias = Callable[[ApiKeyCreated | ApiKeyRevoked], Awaitable[None]]


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    stack = Stack(Settings(data_dir=tmp_path / "own", kafka={"partitions": 1}, stack={"kafka_heap_mb": 256}))
    try:
        stack.up(SERVERS)
        yield stack
    finally:
        stack.down()


@pytest.fixture
async def keep(own_stack: Stack) -> Keep:
    """Puts events of keys on record, one after another."""
    settings = own_stack.settings
    codec = (await open_decoder(settings)).codec
    placed = 0

    async def put(event: ApiKeyCreated | ApiKeyRevoked) -> None:
        nonlocal placed
        async with batch_producer(settings, timeout_s=60) as producer:
            meta = Meta(
                id=uuid4(), type=event.AVRO, source="test", subject=event.key_id, time=NOW, expected_offset=placed
            )
            log = KafkaLog(settings, producer, TOPICS["access"], 0)
            entry = Entry(event.key_id.encode(), codec.encode(event), meta.headers())
            assert await log.append([entry]) == Landed(placed)
        placed += 1

    return put


async def code(gate: Gate, key: ApiKey) -> str:
    """What a request with this key is refused with; empty when it is not."""
    try:
        await gate.identify([(b"authorization", f"Bearer {key.text}".encode())])
    except Problem as problem:
        return problem.code
    return ""


async def becomes(gate: Gate, key: ApiKey, wanted: str) -> None:
    async with asyncio.timeout(60):
        while await code(gate, key) != wanted:
            await asyncio.sleep(0.02)


async def says(health: Health, wanted: str, ok: bool) -> None:
    async with asyncio.timeout(60):
        while (access := health.components.get("access")) is None or access.ok != ok or wanted not in access.cause:
            await asyncio.sleep(0.1)


async def test_the_last_known_keys_open_while_kafka_is_away(own_stack: Stack, keep: Keep) -> None:
    """An outage of the log must not lock everybody out, and health has to tell that no revocation arrives."""
    key, installation = new_key(), own_stack.settings.access.key
    assert installation is not None
    await keep(ApiKeyCreated(key_id=key.id, secret_sha256=key.sha256, name="shop", roles=("product",)))
    health, started_late = Health("first"), Health("second")
    first, second = Gate(own_stack.settings, health), Gate(own_stack.settings, started_late)
    async with first.kept():
        await becomes(first, key, "")
        await says(health, "", True)
        own_stack.kill("kafka")
        await says(health, "no revocation arrives", True)
        assert await code(first, key) == ""
        assert await code(first, new_key()) == "unknown_key"
        async with second.kept():
            await says(started_late, "cannot be read", False)
            assert await code(second, key) == "keys_unread"
            assert await code(second, parse(installation.get_secret_value())) == ""
            await asyncio.to_thread(own_stack.up, SERVERS)
            await becomes(second, key, "")
        await keep(ApiKeyRevoked(key_id=key.id))
        await becomes(first, key, "revoked_key")
        await says(health, "", True)
