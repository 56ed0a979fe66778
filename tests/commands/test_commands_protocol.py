"""The offset-checked append holds under every mishap, and each of its guards is needed."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.aggregates.model import AGGREGATE
from commands.protocol.group import Group
from commands.protocol.log import MemoryLog
from commands.protocol.simulation import (
    CODEC,
    DECODER,
    GUARDS,
    Guard,
    Violation,
    alone,
    meaning,
    random_commands,
    simulate,
)
from commands.protocol.state import PartitionState
from infra.kafka.append import Landed
from schemas.topics import TOPICS


@pytest.mark.parametrize("first_seed", range(0, 200, 50))
def test_nothing_is_lost_repeated_or_decided_on_a_wrong_state(first_seed: int) -> None:
    """The promise of the write side: pauses, crashes, two owners, lost and late packets change nothing."""
    voided = 0
    for seed in range(first_seed, first_seed + 50):
        world = simulate(seed)
        voided += sum(not raw.counts for raw in world.log.records)
    assert voided > 100, "the mishaps have to be bad enough to void batches"


@pytest.mark.parametrize("guard", sorted(GUARDS))
def test_without_a_guard_the_promise_breaks(guard: Guard) -> None:
    """A guard that nothing misses when it is gone would be decoration, or the simulation blind."""
    broken = 0
    for seed in range(30):
        try:
            simulate(seed, GUARDS - {guard})
        except (Violation, KeyError):  # a fold over events that contradict each other may stumble
            broken += 1
    assert broken > 0


def test_the_same_seed_gives_the_same_schedule() -> None:
    """A failing seed has to be replayed to be understood."""
    assert simulate(7).log.records == simulate(7).log.records


@given(st.integers(0, 10_000), st.integers(1, 12))
def test_a_group_says_what_its_commands_say_one_by_one(seed: int, size: int) -> None:
    """Group commit saves round trips; it may not change a single answer."""
    commands = list(random_commands(random.Random(seed), 24))
    log, state = MemoryLog(TOPICS["models"]), PartitionState()
    for start in range(0, len(commands), size):
        group = Group(AGGREGATE, CODEC, state).take(commands[start : start + size])
        assert log.place(group.entries) == Landed(group.expected)
        group.commit()
    assert meaning(log.records) == meaning(alone(commands))


@given(st.integers(0, 10_000))
def test_the_state_after_deciding_is_the_fold_of_the_log(seed: int) -> None:
    """A writer goes on from its speculation without reading it back, so both have to be the same."""
    log, state = MemoryLog(TOPICS["models"]), PartitionState()
    group = Group(AGGREGATE, CODEC, state).take(list(random_commands(random.Random(seed), 20)))
    log.place(group.entries)
    group.commit()
    folded = PartitionState()
    for raw in log.records:
        recorded = DECODER.decode(raw)
        assert recorded is not None
        folded.fold(AGGREGATE, recorded)
    assert folded == state


def test_a_group_that_would_not_fit_is_cut_between_commands() -> None:
    """Kafka refuses a batch over max.message.bytes; half a command's events must never stand alone."""
    commands = list(random_commands(random.Random(3), 20))
    log, state, batches = MemoryLog(TOPICS["models"]), PartitionState(), 0
    while state.next_command < len(commands):
        group = Group(AGGREGATE, CODEC, state, max_bytes=3000).take(commands[state.next_command :])
        assert sum(entry.size_bytes for entry in group.entries) <= 3000
        log.place(group.entries)
        group.commit()
        batches += 1
    assert batches > 1
    assert meaning(log.records) == meaning(alone(commands))
