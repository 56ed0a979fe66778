"""What a processor keeps of a partition: whose it is, and what it forgets."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from commands.aggregates.user import AGGREGATE
from commands.protocol.group import Group
from commands.protocol.log import MemoryLog
from commands.protocol.simulation.material import CODEC, DECODERS
from commands.protocol.state import PartitionState
from infra.kafka.records import Raw
from schemas.envelope import Meta
from schemas.identity import derived_id
from schemas.profiles import GiveConsent, RegisterUser
from schemas.topics import TOPICS

AT = datetime(2026, 3, 1, tzinfo=UTC)


def command(command: Any, tenant: str, key: str, offset: int) -> Raw:
    """A command as it waits on the topic, sent with an Idempotency-Key."""
    value = CODEC.encode(command)
    meta = Meta(
        id=derived_id(tenant, key),
        type=command.AVRO,
        source="test",
        subject=command.user_id,
        time=AT,
        tenant=tenant,
        fingerprint=value.hex(),
    )
    return Raw(TOPICS["profiles.commands"], 0, offset, command.user_id, value, meta.headers(), 0)


def decided(commands: list[Raw]) -> tuple[MemoryLog, PartitionState]:
    log, state = MemoryLog(TOPICS["profiles"]), PartitionState()
    group = Group(AGGREGATE, CODEC, state).take(commands)
    log.place(group.entries)
    group.commit()
    return log, state


def said(log: MemoryLog) -> list[tuple[str, str, int | None]]:
    """Tenant, event and version of every record."""
    metas = [Meta.of(raw.headers) for raw in log.records]
    return [(meta.tenant, meta.type.rpartition(".")[2], meta.version) for meta in metas]


def test_two_tenants_may_use_the_same_user_id() -> None:
    """One tenant must neither see nor change another's aggregate, and both names are free to them."""
    commands = [
        command(RegisterUser(user_id="ana"), "red", "1", 0),
        command(GiveConsent(user_id="ana", purpose="training"), "red", "2", 1),
        command(GiveConsent(user_id="ana", purpose="training"), "blue", "3", 2),
        command(RegisterUser(user_id="ana"), "blue", "4", 3),
    ]
    log, state = decided(commands)
    assert said(log) == [
        ("red", "UserRegistered", 1),
        ("red", "ConsentGiven", 2),
        ("blue", "CommandRejected", 0),
        ("blue", "UserRegistered", 1),
    ]
    assert state.aggregates.get(("red", "ana")) != state.aggregates.get(("blue", "ana"))


def test_two_tenants_may_use_the_same_idempotency_key() -> None:
    """A key is unique to its tenant; the answer that was given to another may not come back."""
    once = command(RegisterUser(user_id="ana"), "red", "key", 0)
    other = command(RegisterUser(user_id="ana"), "blue", "key", 1)
    log, _ = decided([once, other, replace(once, offset=2), replace(other, offset=3)])
    assert [(tenant, type) for tenant, type, _ in said(log)] == [
        ("red", "UserRegistered"),
        ("blue", "UserRegistered"),
        ("red", "CommandRepeated"),
        ("blue", "CommandRepeated"),
    ]
    repeated = [CODEC.decode(raw.value or b"") for raw in log.records[2:]]
    assert [again.first_offset for again in repeated] == [0, 1]


def test_the_fold_keeps_tenants_apart() -> None:
    """What is read back has to be what was decided on."""
    log, state = decided([command(RegisterUser(user_id="ana"), tenant, "1", n) for n, tenant in enumerate("ab")])
    folded = PartitionState()
    for raw in log.records:
        recorded = DECODERS["new"].decode(raw)
        assert recorded is not None
        folded.fold(AGGREGATE, recorded)
    assert folded == state
