"""Deciding the commands that wait for a partition in one go: the events of all of them become one record batch."""

from collections import ChainMap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

import structlog

from commands.aggregate import Aggregate
from commands.protocol.state import Answer, Identity, PartitionState, Versioned, identity_of, is_outcome, remember
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
        self._answers: dict[UUID, Answer] = {}
        self._known = ChainMap(self._answers, self.state.answers)
        self._size_bytes = 0
        self._next_command = self.state.next_command

    @property
    def expected(self) -> int:
        """Where the batch has to land."""
        return self.state.next_offset

    def take(self, commands: Sequence[Raw]) -> "Group":
        """Decide as many of the commands, in order, as fit one batch; at least one."""
        for raw in commands:
            if not self._decide(raw):
                break
        return self

    def commit(self) -> None:
        """The batch landed where it was expected: what was speculation is now the state."""
        self.state.aggregates.update(self._aggregates)
        self.state.answers.update(self._answers)
        self.state.next_offset += len(self.entries)
        self.state.next_command = self._next_command

    def _decide(self, raw: Raw) -> bool:
        """Decide one command; False when its events no longer fit."""
        meta = _meta_of(raw)
        try:
            return self._add(raw, meta, self._events(self._command(raw), meta))
        except Problem as problem:
            return self._refuse(raw, meta, problem)
        except Exception as fault:
            log.exception("command could not be decided", position=str(raw.position), type=meta.type)
            return self._refuse(raw, meta, Problem(f"a fault of ours: {fault!r}", code="fault_in_decide"))

    def _command(self, raw: Raw) -> Any:
        command = self.codec.decode(raw.value or b"")
        contract = contracts()[command.AVRO]
        key = getattr(command, contract.key or "", None)
        if (contract.kind, contract.topic) != ("command", self.aggregate.topic) or key != raw.key:
            raise Incompatible(
                f"{command.AVRO} for '{key}' does not belong on {raw.topic.name} under the key '{raw.key}'",
                code="misplaced_command",
            )
        if Meta.of(raw.headers).subject != raw.key:
            raise Incompatible("the subject is not the record's key", code="misplaced_command")
        return command

    def _events(self, command: Any, meta: Meta) -> Sequence[Any]:
        first = self._known.get(meta.id)
        if first is not None:
            return [_repeated(meta, first)]
        current = self._current(identity_of(meta))
        if not meta.agrees(current.version):
            raise _conflict(self.aggregate.name, meta, current.version)
        decided = self.aggregate.decide(current.state, command, meta)
        return decided or [CommandAccepted(command_id=str(meta.id), command_type=meta.type)]

    def _current(self, identity: Identity) -> Versioned:
        return (
            self._aggregates.get(identity)
            or self.state.aggregates.get(identity)
            or Versioned(0, self.aggregate.initial)
        )

    def _refuse(self, raw: Raw, meta: Meta, problem: Problem) -> bool:
        rejected = CommandRejected(
            command_id=str(meta.id),
            command_type=meta.type,
            code=problem.code,
            detail=problem.detail[:2000],
            status=problem.status,
        )
        added = self._add(raw, meta, [rejected])
        if added and problem.status >= 500:
            self.letters.append((raw, problem))
        return added

    def _add(self, raw: Raw, meta: Meta, events: Sequence[Any]) -> bool:
        """Put the answer to one command into the batch; False when it no longer fits."""
        answer = list(self._answer(raw, meta, events))
        size_bytes = sum(entry.size_bytes for _, _, entry in answer)
        if size_bytes > self.max_bytes:
            raise TooLarge(
                f"the events of this command take {size_bytes} bytes, {self.max_bytes} fit: send less at once"
            )
        if self.entries and self._size_bytes + size_bytes > self.max_bytes:
            return False
        evolved = self._evolved(identity_of(meta), events)
        if evolved.version:
            self._aggregates[identity_of(meta)] = evolved
        for event, caused, entry in answer:
            remember(self._answers, self._known, event, caused, caused.expected_offset or 0)
            self.entries.append(entry)
        self._size_bytes += size_bytes
        self._next_command = raw.offset + 1
        self.answered.append(events[0].AVRO)
        return True

    def _evolved(self, identity: Identity, events: Sequence[Any]) -> Versioned:
        version, state = self._current(identity)
        for event in events:
            if not is_outcome(event):
                version, state = version + 1, self.aggregate.evolve(state, event)
        return Versioned(version, state)

    def _answer(self, raw: Raw, meta: Meta, events: Sequence[Any]) -> Iterator[tuple[Any, Meta, Entry]]:
        version = self._current(identity_of(meta)).version
        for index, event in enumerate(events):
            version += not is_outcome(event)
            caused = meta.caused(
                index,
                type=event.AVRO,
                source=SOURCE,
                expected_offset=self.expected + len(self.entries) + index,
                command_offset=raw.offset,
                version=version,
            )
            yield event, caused, Entry(meta.subject.encode(), self.codec.encode(event), caused.headers())


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


def _meta_of(raw: Raw) -> Meta:
    """What stands around a command; as far as its headers can be read, and the same on every attempt."""
    try:
        return Meta.of(raw.headers)
    except Incompatible:
        named = next((value.decode(errors="replace") for name, value in raw.headers if name == "ce_type"), "")
        return Meta(
            id=uuid5(UNREADABLE_NAMESPACE, str(raw.position)),
            type=named if named in contracts() else "unknown",
            source=SOURCE,
            subject=raw.key,
            time=datetime.fromtimestamp(raw.timestamp_ms / 1000, UTC),
        )
