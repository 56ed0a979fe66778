"""What every saga is: a frozen value that holds pure functions, found by discovery in `inference/sagas`.

A saga hears the events of one topic and speaks commands; it touches nothing else. The id of each command is derived
from the event that caused it, so that hearing an event twice says the same command twice, which is answered as a
repetition.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Generic, TypeAlias, TypeVar
from uuid import UUID, uuid5

from schemas.codec import Record
from schemas.contracts import contracts
from schemas.envelope import Meta, Recorded
from schemas.identity import derived_id

S = TypeVar("S")


@dataclass(frozen=True)
class Later:
    """A command to be sent some time after the event that caused it, unless it is overtaken.

    It is durable, because it is derived from the log again at each start. Nothing cancels it: the aggregate does
    nothing when the command comes at a step that has passed.

    Attributes:
        command: what to send.
        after_s: how long after the event, in seconds.
    """

    command: Record
    after_s: float


Reaction: TypeAlias = Record | Later


@dataclass(frozen=True)
class Saga(Generic[S]):
    """One process that spans several steps.

    Args:
        name: unique, kebab-case; part of the ids of its commands, so it is never changed.
        topic: whose events it hears, a decided topic; it keeps one state per key.
        initial: state of a key that nothing has happened to.
        evolve: the state after one more event; pure.
        react: what to say about an event that has just been folded into the state; pure.
    """

    name: str
    topic: str
    initial: S
    evolve: Callable[[S, Any], S]
    react: Callable[[S, Any, Meta], Sequence[Reaction]]


@dataclass(frozen=True)
class Due:
    """A command with its id and its time.

    Attributes:
        id: of the command in the log; the same whenever the event is heard.
        key: Idempotency-Key that gives it this id.
        command: what to send.
        cause: the event that it follows from.
        at: not before this time.
    """

    id: UUID
    key: str
    command: Record
    cause: Meta
    at: datetime


@dataclass(frozen=True)
class Progress(Generic[S]):
    """All that a runner knows: the fold of what it has heard.

    Attributes:
        states: state by key.
        pending: commands whose time has not come, or that nobody has answered yet, by id.
    """

    states: Mapping[str, S] = field(default_factory=dict)
    pending: Mapping[UUID, Due] = field(default_factory=dict)


def command_key(saga: str, cause: Meta, index: int) -> str:
    """Idempotency key of the `index`-th command that a saga says about an event."""
    return f"saga:{saga}:{uuid5(cause.id, str(index))}"


def hear(saga: Saga[S], progress: Progress[S], recorded: Recorded, *, handled: bool) -> Progress[S]:
    """Fold one record of the saga's topic.

    An answer takes the command it answers off the list: the log itself says what has been sent.

    Args:
        saga: the declaration.
        progress: the fold of all records before.
        recorded: an event of the topic, or the answer to a command.
        handled: whether an earlier run has dealt with it; then only what was put off is put on the list.
    """
    answered = {due_id: due for due_id, due in progress.pending.items() if not _answers(recorded.meta, due_id)}
    if contracts()[recorded.event.AVRO].is_outcome:
        return replace(progress, pending=answered)
    key = recorded.meta.subject
    state = saga.evolve(progress.states.get(key, saga.initial), recorded.event)
    reactions = list(enumerate(saga.react(state, recorded.event, recorded.meta)))
    said = [_due(saga, recorded.meta, i, r) for i, r in reactions if isinstance(r, Later) or not handled]
    return Progress({**progress.states, key: state}, {**answered, **{due.id: due for due in said}})


def due(progress: Progress[S], now: datetime) -> list[Due]:
    """The commands whose time has come, the longest overdue first."""
    return sorted((d for d in progress.pending.values() if d.at <= now), key=lambda d: d.at)


def _answers(meta: Meta, due_id: UUID) -> bool:
    return meta.causation_id == str(due_id)


def _due(saga: Saga[S], cause: Meta, index: int, reaction: Reaction) -> Due:
    later = reaction if isinstance(reaction, Later) else Later(reaction, 0)
    key = command_key(saga.name, cause, index)
    at = cause.time + timedelta(seconds=later.after_s)
    return Due(derived_id(cause.tenant, key), key, later.command, cause, at)
