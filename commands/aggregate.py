"""An aggregate as a value: what it starts as, how it decides, how it changes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from schemas.envelope import Meta

State = TypeVar("State")
Command = TypeVar("Command")
Event = TypeVar("Event")


@dataclass(frozen=True)
class Aggregate(Generic[State, Command, Event]):
    """The rules of one decided topic; both functions are pure and deterministic.

    Attributes:
        name: singular noun, for metrics and problems.
        topic: decided topic that keeps its events, without prefix.
        initial: state of an aggregate that nothing has happened to.
        decide: what a command leads to; no event means that it changes nothing. Raises Rejected, NotFound or
            Invalid when the answer is no. Time, ids and the actor come from the meta.
        evolve: the state after an event. Never refuses one: what is on record has happened.
    """

    name: str
    topic: str
    initial: State
    decide: Callable[[State, Command, Meta], Sequence[Event]]
    evolve: Callable[[State, Event], State]
