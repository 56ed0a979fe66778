"""A snapshot saves reading the log; it never says anything that the log does not."""

import asyncio
import random
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

import commands.aggregates
from commands.aggregate import Aggregate
from commands.aggregates import user as users
from commands.aggregates.model import AGGREGATE
from commands.processor.memory import Batch, Limits, Memory
from commands.processor.snapshot import SLOTS, Damaged, Snapshot, claim, state_decoder
from commands.processor.stamp import stamp_of, state_type
from commands.protocol.group import Group
from commands.protocol.log import MemoryLog
from commands.protocol.simulation.material import CODEC, DECODERS, random_commands
from commands.protocol.state import Answer, PartitionState, Versioned
from infra.discover import discover
from infra.kafka.records import Raw
from schemas.errors import Incompatible
from schemas.topics import TOPICS

DECODER = DECODERS["new"]
STATES = state_decoder("model", state_type(AGGREGATE))
TINY = Limits(aggregates=1, answers=2, snapshot_s=1e9)


def opened(folder: Path, stamp: str = "today", limits: Limits = TINY) -> tuple[Memory, Snapshot]:
    """The memory of a process that has just started, and the file below it."""
    snapshot = Snapshot(folder, "models-0", stamp, STATES)
    return Memory(AGGREGATE, 0, CODEC, snapshot, limits), snapshot


def write(memory: Memory) -> bool:
    """Write what has changed; whether that was possible."""
    batch = memory.begin()
    if batch is not None:
        memory.end(batch, memory.save(batch))
    return not memory.trouble


@dataclass
class Life:
    """Processes that answer commands, one after another, over one log and one folder."""

    folder: Path
    commands: Sequence[Raw]
    log: MemoryLog = field(default_factory=lambda: MemoryLog(TOPICS["models"]))

    def __post_init__(self) -> None:
        self.memory, self.snapshot = opened(self.folder)
        self.batch: Batch | None = None
        self.start()

    def start(self) -> None:
        """As an owner does: from the snapshot, and then from the log."""
        asyncio.run(self.memory.recall(self.log, DECODER))
        state = self.memory.state
        for raw in self.log.page(state.next_offset).records:
            recorded = DECODER.decode(raw)
            assert recorded is not None
            state.fold(AGGREGATE, recorded)

    def decide(self, number: int) -> None:
        """A group of commands."""
        state = self.memory.state
        waiting = self.commands[state.next_command : state.next_command + number]
        if waiting:
            group = Group(AGGREGATE, CODEC, state).take(waiting)
            self.log.place(group.entries)
            group.commit()

    def begin(self) -> None:
        """A thread begins to write."""
        if self.batch is None:
            self.batch = self.memory.begin()

    def finish(self) -> None:
        """The thread is done."""
        if self.batch is not None:
            self.memory.end(self.batch, self.memory.save(self.batch))
            self.batch = None

    def stop(self) -> None:
        """A process ends as it should."""
        self.finish()
        asyncio.run(self.memory.close())
        self.begin_anew()

    def kill(self, *, written: bool) -> None:
        """A process ends at once; what its thread was writing is on disk or not."""
        if self.batch is not None and written:
            self.memory.save(self.batch)
        self.snapshot.close()
        self.begin_anew()

    def begin_anew(self) -> None:
        """The next process."""
        self.memory, self.snapshot = opened(self.folder)
        self.batch = None
        self.start()


def alone(commands: Sequence[Raw]) -> list[Raw]:
    """The log of one process that forgets nothing and never ends."""
    log, state = MemoryLog(TOPICS["models"]), PartitionState()
    while state.next_command < len(commands):
        group = Group(AGGREGATE, CODEC, state).take(commands[state.next_command :])
        log.place(group.entries)
        group.commit()
    return log.records


def folded(log: MemoryLog) -> PartitionState:
    """What the log says, without any snapshot."""
    state = PartitionState()
    for raw in log.records:
        recorded = DECODER.decode(raw)
        assert recorded is not None
        state.fold(AGGREGATE, recorded)
    return state


def same(memory: Memory, log: MemoryLog) -> None:
    """All that the log says is known, wherever it is kept."""
    plain, state = folded(log), memory.state
    assert (state.next_offset, state.next_command, state.last) == (plain.next_offset, plain.next_command, plain.last)
    assert isinstance(plain.aggregates, dict)
    assert isinstance(plain.answers, dict)
    assert {identity: state.aggregates.get(identity) for identity in plain.aggregates} == plain.aggregates
    assert {key: state.answers.get(key) for key in plain.answers} == plain.answers


STEPS: dict[str, Callable[[Life, random.Random], None]] = {
    "decide": lambda life, chance: life.decide(chance.randint(1, 5)),
    "begin": lambda life, _: life.begin(),
    "finish": lambda life, _: life.finish(),
    "stop": lambda life, _: life.stop(),
    "kill": lambda life, chance: life.kill(written=chance.random() < 0.5),
}


@examples(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.lists(st.sampled_from(sorted(STEPS)), max_size=40))
def test_forgetting_and_starting_again_changes_nothing(seed: int, steps: list[str]) -> None:
    """Whatever was evicted, written or lost by a kill, the answers and the state are those of the log."""
    chance = random.Random(seed)
    with TemporaryDirectory() as folder:
        life = Life(Path(folder), list(random_commands(chance, 40)))
        for step in steps:
            STEPS[step](life, chance)
        same(life.memory, life.log)
        life.decide(len(life.commands))
        life.kill(written=False)
        same(life.memory, life.log)
        life.snapshot.close()
    assert life.log.records == alone(life.commands)


@pytest.fixture
def life(tmp_path: Path) -> Life:
    """A process that has answered commands and was stopped, so that a snapshot tells of all of them."""
    life = Life(tmp_path, list(random_commands(random.Random(1), 40)))
    life.decide(40)
    asyncio.run(life.memory.close())
    return life


def database(life: Life) -> Path:
    """The file of the snapshot."""
    return next(life.folder.glob("*.sqlite"))


def recalled(life: Life, stamp: str = "today") -> Memory:
    """The memory of a process that has looked at its snapshot, and not yet at the log behind it."""
    memory, _ = opened(life.folder, stamp)
    asyncio.run(memory.recall(life.log, DECODER))
    return memory


def test_a_snapshot_spares_reading_the_log(life: Life) -> None:
    """Otherwise it would be of no use."""
    memory = recalled(life)
    assert memory.state.next_offset == len(life.log.records) > 0
    same(memory, life.log)
    asyncio.run(memory.close())


def cut(log: MemoryLog) -> None:
    """A log that was made anew and has less in it."""
    del log.records[len(log.records) // 2 :]


def swap(log: MemoryLog) -> None:
    """A log with another history of the same length."""
    commands = list(random_commands(random.Random(2), 200))
    log.records[:] = alone(commands)[: len(log.records)]


@pytest.mark.parametrize("change", [cut, swap])
def test_a_snapshot_of_another_log_is_thrown_away(life: Life, change: Callable[[MemoryLog], None]) -> None:
    """Topics are made anew, brokers are restored from backups, and folders are copied."""
    change(life.log)
    memory = recalled(life)
    assert memory.state.next_offset == 0
    assert memory.state.aggregates.get(("default", "movies")) is None
    asyncio.run(memory.close())


def test_a_snapshot_of_other_code_is_thrown_away(life: Life) -> None:
    """Another evolve may come to another state from the same events."""
    memory = recalled(life, stamp="tomorrow")
    assert memory.state.next_offset == 0
    asyncio.run(memory.close())


def garble(path: Path) -> None:
    """No database at all."""
    path.write_bytes(b"no database" * 1000)


def empty_table(path: Path) -> None:
    """A database that lacks a table."""
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE checkpoint")
        connection.execute("CREATE TABLE checkpoint (something TEXT)")
    connection.close()


def two_checkpoints(path: Path) -> None:
    """A database that says two things."""
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO checkpoint SELECT * FROM checkpoint")
    connection.close()


@pytest.mark.parametrize("damage", [garble, empty_table, two_checkpoints])
def test_a_damaged_snapshot_is_thrown_away(life: Life, damage: Callable[[Path], None]) -> None:
    """A disk that forgets may cost time, and nothing else."""
    damage(database(life))
    memory = recalled(life)
    assert memory.state.next_offset == 0
    assert write(memory)
    asyncio.run(memory.close())


def test_one_wrong_bit_is_noticed(life: Life) -> None:
    """It could turn a no into a yes."""
    with sqlite3.connect(database(life)) as connection:
        connection.execute("UPDATE aggregates SET value = CAST(x'92' || x'05' || substr(value, 3) AS BLOB)")
    connection.close()
    memory = recalled(life)
    with pytest.raises(Damaged):
        memory.state.aggregates.get(("default", "movies"))
    asyncio.run(memory.throw_away("a test"))
    assert memory.state.next_offset == 0
    asyncio.run(memory.close())


def test_what_cannot_be_written_stays_in_memory(life: Life) -> None:
    """A full disk is no reason to stop answering."""
    memory = recalled(life)
    memory.state.aggregates[("default", "films")] = Versioned(1, object())
    assert not write(memory)
    assert memory.trouble
    assert memory.state.aggregates.get(("default", "films")) is not None
    memory.state.aggregates[("default", "films")] = Versioned(1, AGGREGATE.initial)
    assert write(memory)
    assert not memory.trouble
    asyncio.run(memory.close())


def test_each_owner_on_a_machine_has_a_file_of_its_own(tmp_path: Path) -> None:
    """One that is paused still holds its file when the next one takes over."""
    places = [claim(tmp_path, "models-0") for _ in range(SLOTS + 1)]
    assert len({place.path for place in places}) == SLOTS + 1
    assert [place.fleeting is None for place in places] == [True] * SLOTS + [False]
    for place in places:
        place.release()
    again = claim(tmp_path, "models-0")
    assert again.path == places[0].path
    again.release()
    assert not places[-1].path.parent.exists()


def test_without_a_file_there_is_a_fleeting_one(tmp_path: Path) -> None:
    """A folder that takes no file bounds what restarts save, not what memory takes."""
    (tmp_path / "file").write_text("in the way")
    life = Life(tmp_path / "file", list(random_commands(random.Random(3), 40)))
    life.decide(20)
    assert write(life.memory)
    same(life.memory, life.log)
    asyncio.run(life.memory.close())


def test_memory_is_bounded(tmp_path: Path) -> None:
    """Answers are kept for ever; memory is not."""
    memory, _ = opened(tmp_path, limits=Limits(aggregates=10, answers=20, snapshot_s=1e9))
    asyncio.run(memory.recall(MemoryLog(TOPICS["models"]), DECODER))
    life = Life(tmp_path / "other", list(random_commands(random.Random(1), 3)))
    life.decide(3)
    memory.state.last = life.memory.state.last
    for number in range(1000):
        memory.state.aggregates[("default", f"model-{number}")] = Versioned(number, AGGREGATE.initial)
        memory.state.answers[number.to_bytes(16)] = Answer(None, number, number)
        if memory.state.changes >= 50:
            write(memory)
    write(memory)
    assert in_memory(memory) == [10, 20]
    assert memory.state.aggregates.get(("default", "model-7")) == Versioned(7, AGGREGATE.initial)
    assert memory.state.answers.get((7).to_bytes(16)) == Answer(None, 7, 7)
    assert in_memory(memory) == [10, 20]
    asyncio.run(memory.close())
    asyncio.run(life.memory.close())


def in_memory(memory: Memory) -> list[int]:
    """Number of aggregates and answers in memory."""
    tables: list[Any] = [memory.state.aggregates, memory.state.answers]
    return [len(table) for table in tables]


@pytest.mark.parametrize("aggregate", discover(commands.aggregates, Aggregate).values(), ids=lambda one: one.name)
def test_every_aggregate_can_be_kept(aggregate: Aggregate[Any, Any, Any]) -> None:
    """One that cannot is refused at the start of the processor, not when memory is full."""
    state_decoder(aggregate.name, state_type(aggregate))
    assert stamp_of(aggregate) == stamp_of(aggregate)


@pytest.mark.parametrize("odd", [Callable[[], int], PartitionState, users.User | AGGREGATE.initial.__class__])
def test_a_state_that_cannot_be_kept_is_refused_by_name(odd: Any) -> None:
    """Whoever adds an aggregate learns it at once."""
    with pytest.raises(Incompatible, match="'odd'"):
        state_decoder("odd", odd)


def test_aggregates_do_not_share_a_stamp() -> None:
    """A file under a wrong name is another aggregate's."""
    stamps = [stamp_of(one) for one in discover(commands.aggregates, Aggregate).values()]
    assert len(set(stamps)) == len(stamps)
