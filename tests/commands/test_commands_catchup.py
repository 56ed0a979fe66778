"""Folding by columns is quicker than one event after another, and comes to the same."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from commands.aggregates.user import AGGREGATE
from commands.processor.catchup import HEADERS, catch_up, fold, prepare
from commands.processor.memory import Limits, Memory
from commands.processor.snapshot import Snapshot, state_decoder
from commands.processor.stamp import state_type
from commands.protocol.group import Group
from commands.protocol.log import MemoryLog
from commands.protocol.state import PartitionState
from infra.kafka import columns, frame
from infra.kafka.append import Entry
from infra.kafka.decided import KafkaLog, batch_producer
from infra.kafka.records import Decoder, Raw
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.codec import Codec
from schemas.contracts import contracts
from schemas.envelope import Meta
from schemas.errors import Incompatible
from schemas.identity import derived_id
from schemas.profiles import ChangePreferences, GiveConsent, RegisterUser, WithdrawConsent
from schemas.topics import TOPICS

CODEC = Codec({name: number for number, name in enumerate(contracts(), 1)})
AT = datetime(2026, 3, 1, tzinfo=UTC)
USERS = ["ana", "bo", 'a "quoted"\n\x00user', "ümläut\u2028"]


async def nobody(schema_id: int) -> dict[str, Any]:
    raise KeyError(schema_id)


DECODER = Decoder(CODEC, nobody)


def commands_of(chance: random.Random, number: int) -> list[Raw]:
    """Commands of two tenants about a few users; some may come again, and some do."""
    found: list[Raw] = []
    for offset in range(number):
        user = chance.choice(USERS)
        command: Any = chance.choice(
            [
                RegisterUser(user_id=user),
                ChangePreferences(user_id=user, favourite_categories=(user, "a"), language=chance.choice([None, user])),
                GiveConsent(user_id=user, purpose="training"),
                WithdrawConsent(user_id=user, purpose="training"),
            ]
        )
        if found and chance.random() < 0.2:
            found.append(replace(chance.choice(found), offset=offset))
        else:
            found.append(waiting(command, chance.choice(["default", "red"]), offset, known=chance.random() < 0.5))
    return found


def waiting(command: Any, tenant: str, offset: int, *, known: bool) -> Raw:
    """A command on its topic, with an id that its sender chose or not."""
    id = derived_id(tenant, str(offset))
    meta = Meta(
        id=id if known else type(id)(int=offset | 7 << 76 | 2 << 62),
        type=command.AVRO,
        source="test",
        subject=command.user_id,
        time=AT,
        tenant=tenant,
        fingerprint=f"{command!r}" if known else None,
    )
    return Raw(TOPICS["profiles.commands"], 0, offset, command.user_id, CODEC.encode(command), meta.headers(), 0)


def decided(commands: Sequence[Raw]) -> MemoryLog:
    """The log of one writer."""
    log, state = MemoryLog(TOPICS["profiles"]), PartitionState()
    while state.next_command < len(commands):
        group = Group(AGGREGATE, CODEC, state).take(commands[state.next_command :])
        log.place(group.entries)
        group.commit()
    return log


def one_by_one(log: MemoryLog) -> PartitionState:
    """The fold as the conversation does it."""
    state = PartitionState()
    for raw in log.records:
        recorded = DECODER.decode(raw)
        if recorded is not None:
            state.fold(AGGREGATE, recorded)
    return state


def memory_in(folder: Path, codec: Codec, limits: Limits) -> Memory:
    """A memory that has not read anything."""
    snapshot = Snapshot(folder, "profiles-0", "", state_decoder("user", state_type(AGGREGATE)))
    assert snapshot.checkpoint() is None
    return Memory(AGGREGATE, 0, codec, snapshot, limits)


def same(memory: Memory, plain: PartitionState) -> None:
    """Both know the same."""
    state = memory.state
    assert (state.next_command, state.last) == (plain.next_command, plain.last)
    assert isinstance(plain.aggregates, dict)
    assert isinstance(plain.answers, dict)
    assert {identity: state.aggregates.get(identity) for identity in plain.aggregates} == plain.aggregates
    assert {key: state.answers.get(key) for key in plain.answers} == plain.answers


@examples(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 30))
def test_by_columns_or_one_by_one_is_the_same(tmp_path_factory: pytest.TempPathFactory, seed: int, size: int) -> None:
    """Two ways to one state, or restarts would change answers."""
    chance = random.Random(seed)
    log = decided(commands_of(chance, 40))
    log.place([Entry(raw.key.encode(), raw.value or b"", raw.headers) for raw in log.records[:2]])  # void copies
    memory = memory_in(tmp_path_factory.mktemp("snapshots"), CODEC, Limits(1, 1, 1e9))
    for start in range(0, len(log.records), size):
        rows = frame.of_raws(log.records[start : start + size], HEADERS)
        counted = columns.counting(rows, TOPICS["profiles"])
        fold(memory.state, AGGREGATE, prepare(counted, start + size, CODEC))
        if chance.random() < 0.3 and (batch := memory.begin()) is not None:
            memory.end(batch, memory.save(batch))
    same(memory, one_by_one(log))
    asyncio.run(memory.close())


@pytest.mark.parametrize("missing", ["ce_id", "ce_subject", "causationid", "commandoffset"])
def test_what_is_unusual_is_left_to_the_conversation(missing: str) -> None:
    """It says what is wrong, and stops where it is; the state stays as it was before the piece."""
    log = decided(commands_of(random.Random(1), 5))
    odd = replace(log.records[-1], headers=[header for header in log.records[-1].headers if header[0] != missing])
    with pytest.raises(Incompatible):
        prepare(frame.of_raws([*log.records[:-1], odd], HEADERS), 5, CODEC)


async def test_a_long_log_is_read_by_columns(settings: Settings) -> None:
    """On real Kafka the batches are the brokers'."""
    one = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"partitions": 1})})
    decoder = await open_decoder(one)
    state, every = PartitionState(), commands_of(random.Random(5), 6000)
    async with batch_producer(one, timeout_s=60) as producer:
        log = KafkaLog(one, producer, TOPICS["profiles"], 0)
        while state.next_command < len(every):
            batch = [encoded(raw, decoder) for raw in every[state.next_command : state.next_command + 1000]]
            group = Group(AGGREGATE, decoder.codec, state).take(batch)
            await log.append(group.entries)
            group.commit()
    memory = memory_in(one.snapshots, decoder.codec, Limits(100, 100, 1e9))
    await catch_up(one, AGGREGATE, 0, decoder, memory)
    assert memory.state.next_offset == state.next_offset
    same(memory, state)
    await memory.close()


def encoded(raw: Raw, decoder: Decoder) -> Raw:
    """The same command with the schema ids of this registry."""
    return replace(raw, value=decoder.codec.encode(CODEC.decode(raw.value or b"")))
