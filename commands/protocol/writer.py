"""The offset-checked append as a conversation: what a writer asks for, in which order, what it makes of the answers.

A generator that says what it needs and never waits for it, so that the same code runs over Kafka and in a simulation
that answers late, wrongly or never (docs/explanation/offset-checked-append.md tells why it is right).
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

from commands.aggregate import Aggregate
from commands.protocol.group import Group
from commands.protocol.state import PartitionState
from infra.kafka.append import Landed, Page, Unknown
from infra.kafka.records import Decoder, Raw
from schemas.errors import Problem


@dataclass(frozen=True, slots=True)
class Read:
    """Read the events from `start`; to be answered with a `Page`."""

    start: int


@dataclass(frozen=True, slots=True)
class Take:
    """Wait for commands from offset `start`; to be answered with at least one `Raw`, in order, without a gap."""

    start: int


@dataclass(frozen=True, slots=True)
class Bury:
    """Keep commands that could not be understood; to be answered when that is durable."""

    letters: Sequence[tuple[Raw, Problem]]


@dataclass(frozen=True, slots=True)
class Append:
    """Append the group's entries as one batch; to be answered with `Landed` or `Unknown`, never before one of them."""

    group: Group


Ask: TypeAlias = Read | Take | Bury | Append
Conversation: TypeAlias = Generator[Ask, Any, NoReturn]


def write(aggregate: Aggregate[Any, Any, Any], decoder: Decoder, state: PartitionState) -> Conversation:
    """Answer the commands of one partition for ever.

    Args:
        aggregate: the rules.
        decoder: applies the rule to every record that is read.
        state: the fold so far; it only ever holds what is on record.

    Raises:
        Incompatible: an event that counts cannot be read.
    """
    while True:
        yield from _read_to_the_end(aggregate, decoder, state)
        while True:
            commands: Sequence[Raw] = yield Take(state.next_command)
            group = Group(aggregate, decoder.codec, state).take(commands)
            if group.letters:
                yield Bury(group.letters)
            outcome: Landed | Unknown = yield Append(group)
            if outcome != Landed(group.expected):
                break  # somebody else wrote, or nobody knows: only the log does
            group.commit()


def _read_to_the_end(
    aggregate: Aggregate[Any, Any, Any], decoder: Decoder, state: PartitionState
) -> Generator[Ask, Any, None]:
    while True:
        page: Page = yield Read(state.next_offset)
        for raw in page.records:
            recorded = decoder.decode(raw)
            if recorded is not None:
                state.fold(aggregate, recorded)
        state.next_offset = page.next_offset
        if page.at_end:
            return
