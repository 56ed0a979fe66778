"""One schedule: writers on one partition, and everything that can go wrong between them and the log.

Several writers hold the conversation of `commands.protocol.writer`, the real one, over a log in memory, all on the same
partition at once. They are paused for any time, crash, come back with nothing or with a snapshot, in today's version of
the code or the one before; packets are lost, come late or twice, and so do acknowledgements. At the end everybody works
again, with today's code, and the log is held to the promises (`check`).

A guard can be taken out, to see that it is needed. The writer is not touched for that; the world lies to it.
"""

import random
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, assert_never, get_args

from commands.protocol.group import Group
from commands.protocol.log import MemoryLog
from commands.protocol.simulation.check import Violation, check
from commands.protocol.simulation.material import AGGREGATE, DECODERS, TOPIC, Version, random_commands
from commands.protocol.state import PartitionState
from commands.protocol.writer import Append, Ask, Bury, Read, Take, write
from infra.kafka.append import Entry, Landed, Page, Unknown
from infra.kafka.records import Raw
from schemas.envelope import EXPECTED_OFFSET, Meta
from schemas.errors import Incompatible

Guard: TypeAlias = Literal["the rule", "one in flight", "reading again", "the command offset"]
GUARDS: frozenset[Guard] = frozenset(get_args(Guard))

MOST_WRITERS = 4
COMMANDS = 25
STEPS = 400
PATIENCE = 5000


@dataclass(frozen=True)
class Packet:
    """A batch on its way to the log.

    Attributes:
        version: of the code that wrote it.
    """

    entries: Sequence[Entry]
    version: Version


@dataclass
class Node:
    """A process that believes it owns the partition.

    Attributes:
        version: of its code.
        ask: what its writer waits for; None when the writer has stopped, because it met an event it cannot read.
        paused: steps for which it does nothing.
        waiting: id of the packet whose acknowledgement it waits for.
        taken: how far it has read the commands.
    """

    number: int
    version: Version
    state: PartitionState
    conversation: Any
    ask: Ask | None
    paused: int = 0
    waiting: int | None = None
    taken: int = 0


@dataclass
class World:
    """One schedule.

    Attributes:
        guards: those that are in place.
        story: what happened, line by line, when it is wanted.
        network: packets that are under way.
        written_by: version of the code that wrote the record at each offset.
        acknowledged: answers that a caller was given: command offset to where the answer stands.
        snapshots: states that nodes have kept on the way.
        committed: what the consumer group would say is done, were it asked.
    """

    seed: int
    guards: frozenset[Guard] = GUARDS
    story: list[str] | None = None
    log: MemoryLog = field(default_factory=lambda: MemoryLog(TOPIC, page_size=7))
    commands: list[Raw] = field(default_factory=list)
    network: dict[int, Packet] = field(default_factory=dict)
    written_by: list[Version] = field(default_factory=list)
    acknowledged: dict[int, int] = field(default_factory=dict)
    snapshots: list[tuple[Version, PartitionState]] = field(default_factory=list)
    committed: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self._to_send = list(random_commands(self.random, COMMANDS))
        self._packets = 0
        self.nodes = [self._started(number) for number in range(self.random.randint(2, MOST_WRITERS))]

    def run(self) -> None:
        """Let mishaps happen, then let everybody finish, then look.

        Raises:
            Violation: a promise was broken.
        """
        try:
            for _ in range(STEPS):
                self._step()
            self.commands += self._to_send
            self._to_send = []
            self._finish()
            counted = [raw for raw in self.log.records if raw.counts or "the rule" not in self.guards]
            kept = [copied(state) for version, state in self.snapshots if version == "new"]
            check(self.commands, counted, self.written_by.__getitem__, self.acknowledged, kept)
        except (KeyError, IndexError) as fault:  # a fold over events that contradict each other stumbles
            raise Violation(f"the fold stumbled: {fault!r}") from fault

    def _started(self, number: int, version: Version = "new", kept: PartitionState | None = None) -> Node:
        state = PartitionState() if kept is None else copied(kept)
        conversation = write(AGGREGATE, DECODERS[version], state)
        return Node(number, version, state, conversation, next(conversation), taken=self.committed)

    def _step(self) -> None:
        chance = self.random.random()
        if chance < 0.1 and self._to_send:
            self.commands.append(self._to_send.pop(0))
            self._note(f"command {len(self.commands) - 1} is sent: {Meta.of(self.commands[-1].headers).type}")
        elif chance < 0.2 and self.network:
            self._arrive(self.random.choice(list(self.network)), again=self.random.random() < 0.2)
        elif chance < 0.23:
            self._restart(self.random.randrange(len(self.nodes)))
        elif chance < 0.27:
            self._pause(self.random.choice(self.nodes))
        elif chance < 0.29:
            self._keep(self.random.choice(self.nodes))
        else:
            self._move(self.random.choice(self.nodes))

    def _restart(self, number: int) -> None:
        version: Version = self.random.choice(["new", "new", "old"])
        kept = [state for of, state in self.snapshots if of == version]
        snapshot = self.random.choice(kept) if kept and self.random.random() < 0.5 else None
        self.nodes[number] = self._started(number, version, snapshot)
        begins = "with nothing" if snapshot is None else f"with a snapshot at {snapshot.next_offset}"
        self._note(f"writer {number} crashes and begins again, {version} code, {begins}")

    def _pause(self, node: Node) -> None:
        node.paused = self.random.randrange(STEPS if self.random.random() < 0.2 else 40)
        self._note(f"writer {node.number} is paused for {node.paused} steps")

    def _keep(self, node: Node) -> None:
        """A snapshot is taken between two groups, when the state is what is on record and nothing more."""
        if isinstance(node.ask, Take):
            self.snapshots.append((node.version, copied(node.state)))
            self._note(f"writer {node.number} keeps a snapshot at {node.state.next_offset}")

    def _finish(self) -> None:
        self._note("everybody begins again with today's code, and nothing goes wrong any more")
        self.nodes = [self._started(node.number) for node in self.nodes]
        for packet in list(self.network):
            self._arrive(packet)
        for _ in range(PATIENCE):
            node = self.random.choice(self.nodes)
            node.paused = 0
            self._move(node, mishaps=False)
            if all(isinstance(n.ask, Take) and self._first(n, n.ask.start) >= len(self.commands) for n in self.nodes):
                return
        raise Violation("the writers do not come to an end")

    def _move(self, node: Node, *, mishaps: bool = True) -> None:
        if node.paused:
            node.paused -= 1
            return
        match node.ask:
            case None:
                pass
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
        try:
            node.ask = node.conversation.send(answer)
        except Incompatible as fault:
            if node.version == "new":
                raise
            node.ask = None
            self._note(f"writer {node.number} stops: {fault.detail}")

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
            self.network[node.waiting] = Packet(list(group.entries), node.version)
            self._note(f"writer {node.number} sends packet {node.waiting}, to stand at {group.expected}")
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
        sent = self.network.get(packet)
        if sent is None:
            return None
        if not again:
            del self.network[packet]
        landed = self.log.place(sent.entries)
        self.written_by += [sent.version] * len(sent.entries)
        counts = "counts" if self.log.records[landed.offset].counts else "is void"
        self._note(f"packet {packet} lands at {landed.offset} and {counts}")
        return landed

    def _answered(self, node: Node, group: Group, outcome: Landed | Unknown) -> None:
        if "reading again" not in self.guards:
            outcome = Landed(group.expected)
        self._note(f"writer {node.number} is told {outcome}, expected {group.expected}")
        if outcome == Landed(group.expected):
            for entry in group.entries:
                meta = Meta.of(entry.headers)
                self.acknowledged.setdefault(meta.command_offset or 0, meta.expected_offset or 0)
        self._tell(node, outcome)

    def _note(self, happened: str) -> None:
        if self.story is not None:
            self.story.append(happened)


def simulate(seed: int, guards: frozenset[Guard] = GUARDS) -> World:
    """Run one schedule; the same seed gives the same one.

    Raises:
        Violation: a promise was broken.
    """
    world = World(seed, guards)
    world.run()
    return world


def copied(state: PartitionState) -> PartitionState:
    """The same state, to go on from without changing this one; what the tables hold is never changed in place."""
    return replace(state, aggregates=copy(state.aggregates), answers=copy(state.answers))


def _as_if_expected(raw: Raw) -> Raw:
    others = [header for header in raw.headers if header[0] != EXPECTED_OFFSET]
    return replace(raw, headers=[*others, (EXPECTED_OFFSET, str(raw.offset).encode())])
