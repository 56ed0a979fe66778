"""What a processor knows of one partition: the fold of its events."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from commands.aggregate import Aggregate
from schemas.contracts import contracts
from schemas.envelope import Meta, Recorded
from schemas.outcomes import CommandRejected, CommandRepeated

OK = 200


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


def may_come_again(command_id: UUID) -> bool:
    """Whether a command with this id has to be remembered.

    Ids that a client chose, or that were derived from a cause, are UUIDv5. The others are made anew for each request
    and written by an idempotent producer, so they stand in the log once.
    """
    return command_id.version == 5


def identity_of(meta: Meta) -> Identity:
    """Which aggregate a command or event is about."""
    return meta.tenant, meta.subject


@dataclass
class PartitionState:
    """The fold of the counted events of one partition below `next_offset`.

    Attributes:
        next_offset: first offset that is not folded.
        next_command: offset of the first command that is not answered.
        aggregates: state of each aggregate that anything has happened to, by tenant and key.
        answers: first answers by command id, which says the tenant too: UUIDv5 hashes it in (`schemas.identity`).
    """

    next_offset: int = 0
    next_command: int = 0
    aggregates: dict[Identity, Versioned] = field(default_factory=dict)
    answers: dict[UUID, Answer] = field(default_factory=dict)

    def fold(self, aggregate: Aggregate[Any, Any, Any], recorded: Recorded) -> None:
        """Take one counted event in; they come in the order of the log."""
        event, meta = recorded.event, recorded.meta
        if not is_outcome(event):
            identity = identity_of(meta)
            before = self.aggregates.get(identity) or Versioned(0, aggregate.initial)
            self.aggregates[identity] = Versioned(before.version + 1, aggregate.evolve(before.state, event))
        remember(self.answers, self.answers, event, meta, recorded.position.offset)
        self.next_offset = recorded.position.offset + 1
        if meta.command_offset is not None:
            self.next_command = meta.command_offset + 1


def remember(into: dict[UUID, Answer], known: Mapping[UUID, Answer], event: Any, meta: Meta, offset: int) -> None:
    """Keep the first answer to the command that `event` answers; of several events the version of the last."""
    command_id = UUID(meta.causation_id)
    if not may_come_again(command_id) or isinstance(event, CommandRepeated):
        return
    first = known.get(command_id)
    offset = offset if first is None else first.first_offset
    answer = Answer(meta.fingerprint, offset, meta.version or 0)
    if isinstance(event, CommandRejected):
        answer = answer._replace(status=event.status, code=event.code, detail=event.detail)
    into[command_id] = answer


def is_outcome(event: Any) -> bool:
    """Whether an event answers a command without changing its aggregate."""
    return contracts()[event.AVRO].is_outcome
