"""The offset-checked append under every mishap that a seed can think of.

Several writers hold the conversation of `commands.protocol.writer`, the real one, over a log in memory, all on the same
partition at once. They are paused, crash and come back with nothing; packets are lost, come late or twice, and so do
acknowledgements. At the end everybody works again, and what counts in the log has to be exactly what one writer alone,
deciding the commands in their order, would have written.

A guard can be taken out, to see that it is needed. The writer is not touched for that; the world lies to it.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, assert_never, get_args
from uuid import UUID, uuid5

from commands.aggregates.model import AGGREGATE
from commands.protocol.group import Group
from commands.protocol.log import MemoryLog
from commands.protocol.state import PartitionState
from commands.protocol.writer import Append, Ask, Bury, Read, Take, write
from infra.kafka.append import Entry, Landed, Page, Unknown
from infra.kafka.records import Decoder, Raw
from schemas.codec import Codec
from schemas.contracts import contracts
from schemas.envelope import EXPECTED_OFFSET, Meta
from schemas.models import CompleteTraining, FailTraining, ModelsCommand, RequestTraining, RetireModel, StartTraining
from schemas.outcomes import CommandRepeated
from schemas.topics import TOPICS

Guard: TypeAlias = Literal["the rule", "one in flight", "reading again", "the command offset"]
GUARDS: frozenset[Guard] = frozenset(get_args(Guard))

WRITERS = 3
COMMANDS = 25
STEPS = 400
PATIENCE = 5000
NAMESPACE = UUID("0d0e2f1c-52b7-5d61-8f3e-6f8a0a3c5b11")

CODEC = Codec({name: number for number, name in enumerate(contracts(), 1)})


class Violation(AssertionError):
    """Something was lost, came twice, was decided on a wrong state, or never ended."""


async def _no_registry(schema_id: int) -> Mapping[str, Any]:
    raise KeyError(schema_id)


DECODER = Decoder(CODEC, _no_registry)


@dataclass
class Node:
    """A process that believes it owns the partition.

    Attributes:
        paused: steps for which it does nothing.
        waiting: id of the packet whose acknowledgement it waits for.
        taken: how far it has read the commands.
    """

    conversation: Any
    ask: Ask
    paused: int = 0
    waiting: int | None = None
    taken: int = 0


@dataclass
class World:
    """One schedule.

    Attributes:
        guards: those that are in place.
        network: packets that are under way.
        acknowledged: answers that a caller was given: command offset to where the answer stands.
        committed: what the consumer group would say is done, were it asked.
    """

    seed: int
    guards: frozenset[Guard] = GUARDS
    log: MemoryLog = field(default_factory=lambda: MemoryLog(TOPICS["models"], page_size=7))
    commands: list[Raw] = field(default_factory=list)
    network: dict[int, Sequence[Entry]] = field(default_factory=dict)
    acknowledged: dict[int, int] = field(default_factory=dict)
    committed: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self._to_send = list(random_commands(self.random, COMMANDS))
        self._packets = 0
        self.nodes = [self._started() for _ in range(WRITERS)]

    def run(self) -> None:
        """Let mishaps happen, then let everybody finish, then look.

        Raises:
            Violation: a promise was broken.
        """
        for _ in range(STEPS):
            self._step()
        self.commands += self._to_send
        self._to_send = []
        self._finish()
        check(self)

    def _started(self) -> Node:
        conversation = write(AGGREGATE, DECODER, PartitionState())
        return Node(conversation, next(conversation), taken=self.committed)

    def _step(self) -> None:
        chance = self.random.random()
        if chance < 0.1 and self._to_send:
            self.commands.append(self._to_send.pop(0))
        elif chance < 0.2 and self.network:
            self._arrive(self.random.choice(list(self.network)), again=self.random.random() < 0.2)
        elif chance < 0.23:
            self.nodes[self.random.randrange(WRITERS)] = self._started()
        elif chance < 0.27:
            self.random.choice(self.nodes).paused = self.random.randrange(40)
        else:
            self._move(self.random.choice(self.nodes))

    def _finish(self) -> None:
        self.nodes = [self._started() for _ in range(WRITERS)]
        for packet in list(self.network):
            self._arrive(packet)
        for _ in range(PATIENCE):
            node = self.random.choice(self.nodes)
            node.paused = 0
            self._move(node, mishaps=False)
            if all(isinstance(n.ask, Take) and self._first(n, n.ask.start) >= len(self.commands) for n in self.nodes):
                return
        raise Violation(f"seed {self.seed}: the writers do not come to an end")

    def _move(self, node: Node, *, mishaps: bool = True) -> None:
        if node.paused:
            node.paused -= 1
            return
        match node.ask:
            case Read(start=start):
                self._tell(node, self._page(start))
            case Take(start=start):
                self._give(node, start)
            case Bury():
                self._tell(node, None)
            case Append(group=group):
                self._append(node, group, mishaps)
            case _:
                assert_never(node.ask)

    def _tell(self, node: Node, answer: Any) -> None:
        node.waiting = None
        node.ask = node.conversation.send(answer)

    def _page(self, start: int) -> Page:
        page = self.log.page(start)
        if "the rule" in self.guards:
            return page
        return replace(page, records=[_as_if_expected(raw) for raw in page.records])

    def _first(self, node: Node, start: int) -> int:
        """Which command a writer gets next that asks for the one at `start`."""
        return start if "the command offset" in self.guards else node.taken

    def _give(self, node: Node, start: int) -> None:
        first = self._first(node, start)
        waiting = self.commands[first : first + self.random.randint(1, 4)]
        if waiting:
            node.taken = first + len(waiting)
            self.committed = max(self.committed, node.taken)
            self._tell(node, waiting)

    def _append(self, node: Node, group: Group, mishaps: bool) -> None:
        if node.waiting is None:
            self._packets += 1
            node.waiting = self._packets
            self.network[node.waiting] = list(group.entries)
        if "one in flight" not in self.guards:
            self._send_and_go_on(node, group, mishaps)
        elif mishaps:
            self._wait(node, group)
        else:
            self._answered(node, group, self._arrive(node.waiting) or Unknown("it arrived before"))

    def _send_and_go_on(self, node: Node, group: Group, mishaps: bool) -> None:
        fate = self.random.random() if mishaps else 1.0
        if node.waiting is not None and fate < 0.1:
            self.network.pop(node.waiting, None)
        elif node.waiting is not None and fate > 0.3:
            self._arrive(node.waiting)
        self._answered(node, group, Landed(group.expected))

    def _wait(self, node: Node, group: Group) -> None:
        assert node.waiting is not None
        fate = self.random.random()
        if fate < 0.1:
            self.network.pop(node.waiting, None)
            self._answered(node, group, Unknown("lost"))
        elif fate < 0.2:
            self._answered(node, group, Unknown("late"))
        elif fate < 0.3:
            self._arrive(node.waiting, again=self.random.random() < 0.5)
            self._answered(node, group, Unknown("acknowledgement lost"))
        else:
            landed = self._arrive(node.waiting)
            self._answered(node, group, landed or Unknown("it arrived before, and nobody said where"))

    def _arrive(self, packet: int, *, again: bool = False) -> Landed | None:
        """A packet reaches the log; one that comes `again` stays in the network as well."""
        entries = self.network.get(packet)
        if entries is None:
            return None
        if not again:
            del self.network[packet]
        return self.log.place(entries)

    def _answered(self, node: Node, group: Group, outcome: Landed | Unknown) -> None:
        if "reading again" not in self.guards:
            outcome = Landed(group.expected)
        if outcome == Landed(group.expected):
            for entry in group.entries:
                meta = Meta.of(entry.headers)
                self.acknowledged.setdefault(meta.command_offset or 0, meta.expected_offset or 0)
        self._tell(node, outcome)


def simulate(seed: int, guards: frozenset[Guard] = GUARDS) -> World:
    """Run one schedule; the same seed gives the same one.

    Raises:
        Violation: a promise was broken.
    """
    world = World(seed, guards)
    world.run()
    return world


def check(world: World) -> None:
    """What counts is what one writer alone would have written, and nobody was told otherwise.

    Raises:
        Violation: it is not.
    """
    counted = list(_counted(world))
    said = meaning(counted)
    expected = meaning(alone(world.commands))
    if said != expected:
        raise Violation(f"seed {world.seed}: the log says {len(said)} things, one writer alone says {len(expected)}")
    standing = {_answered_command(raw): raw.offset for raw in reversed(counted)}
    for command, offset in world.acknowledged.items():
        if standing.get(command) != offset:
            raise Violation(f"seed {world.seed}: command {command} was acknowledged at {offset} and is not there")


def _counted(world: World) -> Iterator[Raw]:
    """What a reader takes for an event; without the rule, everything."""
    if "the rule" in world.guards:
        return (raw for raw in world.log.records if raw.counts)
    return iter(world.log.records)


def alone(commands: Sequence[Raw]) -> Sequence[Raw]:
    """The log of one writer that nothing happens to."""
    log, state = MemoryLog(TOPICS["models"]), PartitionState()
    for raw in commands:
        group = Group(AGGREGATE, CODEC, state).take([raw])
        log.place(group.entries)
        group.commit()
    return log.records


def meaning(records: Sequence[Raw]) -> list[tuple[int, int | None, Any]]:
    """Each record as the command that it answers, the version and the event; free of offsets, which void ones shift."""
    metas = {raw.offset: Meta.of(raw.headers) for raw in records}
    said = []
    for raw in records:
        event, meta = CODEC.decode(raw.value or b""), metas[raw.offset]
        if isinstance(event, CommandRepeated):
            first = metas.get(event.first_offset)
            event = replace(event, first_offset=-1 if first is None else first.command_offset or 0)
        said.append((meta.command_offset or 0, meta.version, event))
    return said


def random_commands(choose: random.Random, number: int) -> Iterator[Raw]:
    """Commands about a few runs of two models; some come twice, with the same body or another."""
    bodies: list[tuple[ModelsCommand, UUID]] = []
    for offset in range(number):
        command, id = _random_command(choose), uuid5(NAMESPACE, str(offset))
        if bodies and choose.random() < 0.15:
            again, id = choose.choice(bodies)
            command = again if choose.random() < 0.7 else replace(command, model=again.model)
        bodies.append((command, id))
        yield _raw(command, id, offset)


def _random_command(choose: random.Random) -> ModelsCommand:
    model, run = choose.choice(["movies", "books"]), f"run-{choose.randrange(3)}"
    match choose.randrange(5):
        case 0:
            return RequestTraining(model=model, run_id=run, algorithm="ease")
        case 1:
            return StartTraining(model=model, run_id=run, ranges=())
        case 2:
            return CompleteTraining(
                model=model,
                run_id=run,
                dataset_sha256="d",
                dataset_rows=1,
                duplicates=0,
                artifact_sha256="a" * 64,
                artifact_bytes=1,
                metrics={"recall": 0.5},
                duration_s=1.0,
            )
        case 3:
            return FailTraining(model=model, run_id=run, reason="no")
        case _:
            return RetireModel(model=model, version=choose.randint(1, 2))


def _raw(command: ModelsCommand, id: UUID, offset: int) -> Raw:
    value = CODEC.encode(command)
    meta = Meta(
        id=id,
        type=command.AVRO,
        source="simulation",
        subject=command.model,
        time=datetime(2026, 3, 1, tzinfo=UTC),
        fingerprint=value.hex(),
    )
    return Raw(TOPICS["models.commands"], 0, offset, command.model, value, meta.headers(), 0)


def _as_if_expected(raw: Raw) -> Raw:
    others = [header for header in raw.headers if header[0] != EXPECTED_OFFSET]
    return replace(raw, headers=[*others, (EXPECTED_OFFSET, str(raw.offset).encode())])


def _answered_command(raw: Raw) -> int:
    return Meta.of(raw.headers).command_offset or 0
