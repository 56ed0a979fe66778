"""Deciding the commands that wait for a partition in one go: the events of all of them become one record batch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from itertools import accumulate, count
from typing import Any, NamedTuple
from uuid import UUID, uuid5

import structlog

from commands.aggregate import Aggregate
from commands.protocol.state import (
    Answer,
    Identity,
    Last,
    PartitionState,
    Versioned,
    answer_key,
    answer_of,
    identity_of,
    is_outcome,
)
from infra.kafka.append import Entry
from infra.kafka.records import Raw
from schemas.codec import Codec
from schemas.contracts import contracts
from schemas.envelope import Meta
from schemas.errors import Conflict, Incompatible, Problem, TooLarge
from schemas.outcomes import CommandAccepted, CommandRejected, CommandRepeated

SOURCE = "retrace/processor"
MAX_BATCH_BYTES = 900_000
UNREADABLE_NAMESPACE = UUID("6f1f8a1e-5f4b-5e0e-9d3a-0d7c8f6f2b11")

log = structlog.get_logger()


@dataclass
class Group:
    """Commands decided on a state that is not changed until their batch is on record.

    Attributes:
        entries: the batch.
        answered: type of the first event of each answer, for the metrics.
        letters: commands that could not be read or decided, and why.
    """

    aggregate: Aggregate[Any, Any, Any]
    codec: Codec
    state: PartitionState
    max_bytes: int = MAX_BATCH_BYTES
    entries: list[Entry] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    letters: list[tuple[Raw, Problem]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._aggregates: dict[Identity, Versioned] = {}
        self._answers: dict[bytes, Answer] = {}
        self._nothing = Versioned(0, self.aggregate.initial)
        self._size_bytes = 0
        self._last_event: Any = None
        self._next_command = self.state.next_command

    @property
    def expected(self) -> int:
        """Where the batch has to land."""
        return self.state.next_offset

    def take(self, commands: Sequence[Raw]) -> "Group":
        """Decide as many of the commands, in order, as fit one batch; at least one."""
        met = [_met(raw) for raw in commands]
        self.state.expect([one.identity for one in met], [one.key for one in met if one.key is not None])
        for one in met:
            if not self._decide(self._case(one)):
                break
        return self

    def commit(self) -> None:
        """The batch landed where it was expected: what was speculation is now the state."""
        self.state.aggregates.update(self._aggregates)
        self.state.answers.update(self._answers)
        self.state.last = self._last()
        self.state.next_offset += len(self.entries)
        self.state.next_command = self._next_command

    def _last(self) -> Last:
        entry = self.entries[-1]
        id = next(value for name, value in entry.headers if name == "ce_id")
        return Last(self.expected + len(self.entries) - 1, UUID(id.decode()), self._last_event)

    def _case(self, met: "Met") -> "Case":
        identity, key = met.identity, met.key
        before = self._aggregates.get(identity) or self.state.aggregates.get(identity) or self._nothing
        first = (self._answers.get(key) or self.state.answers.get(key)) if key is not None else None
        return Case(*met, before, first)

    def _decide(self, case: "Case") -> bool:
        """Decide one command; False when its events no longer fit."""
        try:
            return self._add(case, self._events(case))
        except Problem as problem:
            return self._refuse(case, problem)
        except Exception as fault:
            log.exception("command could not be decided", position=str(case.raw.position), type=case.meta.type)
            return self._refuse(case, Problem(f"a fault of ours: {fault!r}", code="fault_in_decide"))

    def _events(self, case: "Case") -> Sequence[Any]:
        command, meta = self._command(case), case.meta
        if case.first is not None:
            return [_repeated(meta, case.first)]
        if not meta.agrees(case.before.version):
            raise _conflict(self.aggregate.name, meta, case.before.version)
        decided = self.aggregate.decide(case.before.state, command, meta)
        return decided or [CommandAccepted(command_id=str(meta.id), command_type=meta.type)]

    def _command(self, case: "Case") -> Any:
        raw = case.raw
        command = self.codec.decode(raw.value or b"")
        field = _key_field(command.AVRO, self.aggregate.topic)
        if field is None or (key := getattr(command, field)) != raw.key:
            named = contracts()[command.AVRO].key or ""
            raise Incompatible(
                f"{command.AVRO} for '{getattr(command, named, None)}' does not belong on {raw.topic.name} "
                f"under the key '{raw.key}'",
                code="misplaced_command",
            )
        if case.problem is not None:
            raise case.problem
        if case.meta.subject != key:
            raise Incompatible("the subject is not the record's key", code="misplaced_command")
        return command

    def _refuse(self, case: "Case", problem: Problem) -> bool:
        rejected = CommandRejected(
            command_id=str(case.meta.id),
            command_type=case.meta.type,
            code=problem.code,
            detail=problem.detail[:2000],
            status=problem.status,
        )
        added = self._add(case, [rejected])
        if added and problem.status >= 500:
            self.letters.append((case.raw, problem))
        return added

    def _add(self, case: "Case", events: Sequence[Any]) -> bool:
        """Put the answer to one command into the batch; False when it no longer fits."""
        versions = list(accumulate((not is_outcome(event.AVRO) for event in events), initial=case.before.version))[1:]
        entries = [self._entry(case, *numbered) for numbered in zip(count(), events, versions, strict=False)]
        size_bytes = sum([entry.size_bytes for entry in entries])
        if size_bytes > self.max_bytes:
            raise TooLarge(
                f"the events of this command take {size_bytes} bytes, {self.max_bytes} fit: send less at once"
            )
        if self.entries and self._size_bytes + size_bytes > self.max_bytes:
            return False
        self._remember(case, events, versions)
        self.entries += entries
        self._size_bytes += size_bytes
        self._next_command = case.raw.offset + 1
        self._last_event = events[-1]
        self.answered.append(events[0].AVRO)
        return True

    def _entry(self, case: "Case", index: int, event: Any, version: int) -> Entry:
        headers = case.meta.caused(
            index,
            type=event.AVRO,
            source=SOURCE,
            expected_offset=self.expected + len(self.entries) + index,
            command_offset=case.raw.offset,
            version=version,
        )
        return Entry(case.meta.subject.encode(), self.codec.encode(event), headers)

    def _remember(self, case: "Case", events: Sequence[Any], versions: Sequence[int]) -> None:
        """What the fold will make of these events, once they are on record."""
        state = case.before.state
        for event in events:
            if not is_outcome(event.AVRO):
                state = self.aggregate.evolve(state, event)
        if versions[-1]:
            self._aggregates[case.identity] = Versioned(versions[-1], state)
        if case.key is None or isinstance(events[0], CommandRepeated):
            return
        answer, offset = case.first, self.expected + len(self.entries)
        for at, (event, version) in enumerate(zip(events, versions, strict=True), offset):
            answer = answer_of(event, answer, case.meta.fingerprint, at, version)
        if answer is not None:
            self._answers[case.key] = answer


class Met(NamedTuple):
    """A command, before its state is looked up.

    Attributes:
        problem: why its headers cannot be read; what is said in `meta` is made up then.
        key: of its answer, if it may come again.
    """

    raw: Raw
    meta: Meta
    problem: Incompatible | None
    identity: Identity
    key: bytes | None


class Case(NamedTuple):
    """A command and the state that it meets.

    Attributes:
        before: its aggregate.
        first: the answer that it has had already.
    """

    raw: Raw
    meta: Meta
    problem: Incompatible | None
    identity: Identity
    key: bytes | None
    before: Versioned
    first: Answer | None


def _met(raw: Raw) -> Met:
    try:
        meta, problem = Meta.of(raw.headers), None
    except Incompatible as fault:
        meta, problem = _made_up(raw), fault
    return Met(raw, meta, problem, identity_of(meta), answer_key(meta.id))


@cache
def _key_field(command_type: str, topic: str) -> str | None:
    """Field that holds the key of a command for this topic; None when it is none for it."""
    contract = contracts()[command_type]
    return contract.key if (contract.kind, contract.topic) == ("command", topic) else None


def _conflict(name: str, meta: Meta, version: int) -> Conflict:
    if version == 0:
        return Conflict(f"there is no {name} '{meta.subject}' yet: look at the id, or leave If-Match out")
    if meta.expected_version == 0:
        return Conflict(f"there is a {name} '{meta.subject}' already, at version {version}")
    return Conflict(f"the {name} is at version {version}, not {meta.expected_version}: read it again and decide anew")


def _repeated(meta: Meta, first: Answer) -> CommandRepeated:
    return CommandRepeated(
        command_id=str(meta.id),
        command_type=meta.type,
        same_body=meta.fingerprint == first.fingerprint,
        first_offset=first.first_offset,
        version=first.version,
        code=first.code,
        detail=first.detail,
        status=first.status,
    )


def _made_up(raw: Raw) -> Meta:
    """A meta for a command whose headers cannot be read, the same on every attempt."""
    named = raw.header("ce_type").decode(errors="replace")
    return Meta(
        id=uuid5(UNREADABLE_NAMESPACE, str(raw.position)),
        type=named if named in contracts() else "unknown",
        source=SOURCE,
        subject=raw.key,
        time=datetime.fromtimestamp(raw.timestamp_ms / 1000, UTC),
    )
