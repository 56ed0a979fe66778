"""What a processor knows of one partition: the fold of its events."""

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar
from uuid import UUID

from commands.aggregate import Aggregate
from schemas.contracts import contracts
from schemas.envelope import Meta, Recorded
from schemas.identity import CLIENT_CHOSEN
from schemas.outcomes import CommandRejected, CommandRepeated

OK = 200


Key = TypeVar("Key")
Value = TypeVar("Value")

Identity: TypeAlias = tuple[str, str]
"""Tenant and key of an aggregate: two tenants may use the same key and never see each other's aggregate."""


class Versioned(NamedTuple):
    """An aggregate's state and how many events led to it."""

    version: int
    state: Any


class Answer(NamedTuple):
    """The first answer to a command, as small as it can be: one is kept for each id that may come again."""

    fingerprint: str | None
    first_offset: int
    version: int
    status: int = OK
    code: str | None = None
    detail: str | None = None


class Table(Protocol[Key, Value]):
    """Where a fold keeps what it knows: a dict, or something with more room."""

    def get(self, key: Key, /) -> Value | None:
        """What was put there last; None when nothing was."""

    def __setitem__(self, key: Key, value: Value, /) -> None:
        """Put something there."""

    def update(self, values: dict[Key, Value], /) -> None:
        """Put many things there."""


class Last(NamedTuple):
    """The last event of a fold, by which its log is recognised."""

    offset: int
    id: UUID
    event: Any


def answer_key(command_id: UUID) -> bytes | None:
    """Under what the first answer to a command is kept; None when its id cannot come again.

    Ids that a client chose, or that were derived from a cause, are UUIDv5, which hashes the tenant in
    (`schemas.identity`). The others are made anew for each request and written by an idempotent producer, so they stand
    in the log once.
    """
    return command_id.bytes if command_id.version == CLIENT_CHOSEN else None


def identity_of(meta: Meta) -> Identity:
    """Which aggregate a command or event is about."""
    return meta.tenant, meta.subject


@dataclass
class PartitionState:
    """The fold of the counted events of one partition below `next_offset`.

    Attributes:
        next_offset: first offset that is not folded.
        next_command: offset of the first command that is not answered.
        last: the last of these events.
        aggregates: state of each aggregate that anything has happened to, by tenant and key.
        answers: first answers, by `answer_key`.
    """

    next_offset: int = 0
    next_command: int = 0
    last: Last | None = None
    aggregates: Table[Identity, Versioned] = field(default_factory=dict[Identity, Versioned])
    answers: Table[bytes, Answer] = field(default_factory=dict[bytes, Answer])

    def expect(self, identities: Collection[Identity], keys: Collection[bytes]) -> None:
        """Told before many look-ups, for tables that would rather be asked once; there is no need to."""

    def fold(self, aggregate: Aggregate[Any, Any, Any], recorded: Recorded) -> None:
        """Take one counted event in; they come in the order of the log."""
        event, meta, offset = recorded.event, recorded.meta, recorded.position.offset
        if not is_outcome(event.AVRO):
            identity = identity_of(meta)
            before = self.aggregates.get(identity) or Versioned(0, aggregate.initial)
            self.aggregates[identity] = Versioned(before.version + 1, aggregate.evolve(before.state, event))
        key = answer_key(UUID(meta.causation_id))
        if key is not None and not isinstance(event, CommandRepeated):
            first = self.answers.get(key)
            self.answers[key] = answer_of(event, first, meta.fingerprint, offset, meta.version or 0)
        self.last = Last(offset, meta.id, event)
        self.next_offset = offset + 1
        if meta.command_offset is not None:
            self.next_command = meta.command_offset + 1


def answer_of(event: Any, first: Answer | None, fingerprint: str | None, offset: int, version: int) -> Answer:
    """What is kept of an answer; of several events the offset of the first and the version of the last.

    Args:
        event: not a `CommandRepeated`, which is no first answer.
        first: what the events of the same answer before this one led to.
        offset: where the event stands.
        version: of the aggregate after the event.
    """
    first_offset = offset if first is None else first.first_offset
    if isinstance(event, CommandRejected):
        return Answer(fingerprint, first_offset, version, event.status, event.code, event.detail)
    return Answer(fingerprint, first_offset, version)


@cache
def is_outcome(event_type: str) -> bool:
    """Whether an event of this type answers a command without changing its aggregate."""
    return contracts()[event_type].is_outcome
