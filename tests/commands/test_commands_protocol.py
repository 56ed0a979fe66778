"""The offset-checked append holds under every mishap, and each of its guards is needed."""

import os
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.protocol.group import Group
from commands.protocol.log import MemoryLog
from commands.protocol.simulation.check import Violation, check, command_offset, fold
from commands.protocol.simulation.many import Ran, simulate_many
from commands.protocol.simulation.material import AGGREGATE, CODEC, TOPIC, random_commands
from commands.protocol.simulation.world import GUARDS, Guard, World, simulate
from commands.protocol.state import PartitionState
from infra.kafka.append import Landed
from infra.kafka.records import Raw

pytestmark = pytest.mark.long

SCHEDULES = 2000


def test_nothing_is_lost_repeated_or_decided_on_a_wrong_state() -> None:
    """The promise of the write side: pauses, crashes, two owners, lost and late packets change nothing."""
    ran = Ran()
    for part in simulate_many(0, SCHEDULES, jobs=os.cpu_count() or 1):
        ran = ran.plus(part)
    assert ran.broken == ()
    assert ran.schedules == SCHEDULES
    assert ran.void > 10 * SCHEDULES, "the mishaps have to be bad enough to void batches"


@pytest.mark.parametrize("guard", sorted(GUARDS))
def test_without_a_guard_the_promise_breaks(guard: Guard) -> None:
    """A guard that nothing misses when it is gone would be decoration, or the simulation blind."""
    (ran,) = simulate_many(0, 25, guards=GUARDS - {guard})
    assert ran.broken


def test_every_mishap_happens() -> None:
    """A simulation in which nothing goes wrong proves nothing."""
    story: list[str] = []
    for seed in range(40):
        World(seed, story=story).run()
    for mishap in ("old code", "with a snapshot", "is paused", "is void", "lost", "late", "stops: "):
        assert any(mishap in line for line in story), mishap


def answered(commands: list[Raw]) -> MemoryLog:
    """The log of one writer that nothing happens to."""
    log, state = MemoryLog(TOPIC), PartitionState()
    for raw in commands:
        group = Group(AGGREGATE, CODEC, state).take([raw])
        log.place(group.entries)
        group.commit()
    return log


def broken_logs() -> dict[str, list[Raw]]:
    """Logs that a faulty writer might have left."""
    records = answered(list(random_commands(random.Random(5), 25))).records
    first = [raw for raw in records if command_offset(raw) == 3]
    swapped = [records[1], records[0], *records[2:]]
    return {
        "lost": [raw for raw in records if command_offset(raw) != 3],
        "answered twice": [*records, *first],
        "order": swapped,
        "another answer": [*records[:4], replace(records[4], value=records[5].value), *records[5:]],
    }


@pytest.mark.parametrize("fault", sorted(broken_logs()))
def test_the_check_sees_what_a_faulty_writer_leaves(fault: str) -> None:
    """A check that finds nothing in a broken log would make every schedule look fine."""
    commands = list(random_commands(random.Random(5), 25))
    with pytest.raises(Violation):
        check(commands, broken_logs()[fault], lambda _: "new", {}, [])


def test_the_check_sees_an_acknowledgement_that_was_a_lie() -> None:
    """The worst fault of all: a client was told yes, and the log knows nothing of it."""
    commands = list(random_commands(random.Random(5), 25))
    log = answered(commands)
    check(
        commands, log.records, lambda _: "new", {3: next(r.offset for r in log.records if command_offset(r) == 3)}, []
    )
    with pytest.raises(Violation, match="acknowledged"):
        check(commands, log.records, lambda _: "new", {3: 0}, [])


def test_the_same_seed_gives_the_same_schedule() -> None:
    """A failing seed has to be replayed to be understood."""
    assert simulate(7).log.records == simulate(7).log.records


@given(st.integers(0, 10_000), st.integers(1, 12))
def test_a_group_says_what_its_commands_say_one_by_one(seed: int, size: int) -> None:
    """Group commit saves round trips; it may not change a single answer."""
    commands = list(random_commands(random.Random(seed), 24))
    log, state = MemoryLog(TOPIC), PartitionState()
    for start in range(0, len(commands), size):
        group = Group(AGGREGATE, CODEC, state).take(commands[start : start + size])
        assert log.place(group.entries) == Landed(group.expected)
        group.commit()
    check(commands, log.records, lambda _: "new", {}, [])


@given(st.integers(0, 10_000))
def test_the_state_after_deciding_is_the_fold_of_the_log(seed: int) -> None:
    """A writer goes on from its speculation without reading it back, so both have to be the same."""
    log, state = MemoryLog(TOPIC), PartitionState()
    group = Group(AGGREGATE, CODEC, state).take(list(random_commands(random.Random(seed), 20)))
    log.place(group.entries)
    group.commit()
    assert fold(PartitionState(), log.records) == state


def test_a_group_that_would_not_fit_is_cut_between_commands() -> None:
    """Kafka refuses a batch over max.message.bytes; half a command's events must never stand alone."""
    commands = list(random_commands(random.Random(3), 20))
    log, state, batches = MemoryLog(TOPIC), PartitionState(), 0
    while state.next_command < len(commands):
        group = Group(AGGREGATE, CODEC, state, max_bytes=3000).take(commands[state.next_command :])
        assert sum(entry.size_bytes for entry in group.entries) <= 3000
        log.place(group.entries)
        group.commit()
        batches += 1
    assert batches > 1
    check(commands, log.records, lambda _: "new", {}, [])
