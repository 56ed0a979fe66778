"""Saying what a saga does: given these events, when this one comes, then those commands."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from inference.saga import Later, Reaction, Saga
from schemas.contracts import contracts
from schemas.envelope import Meta
from schemas.testing import difference

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class SagaSpec:
    """The examples of one saga."""

    saga: Saga[Any]

    def given(self, *events: Any) -> "Heard":
        """What it has heard before, about one key; nothing when no event is named."""
        state = self.saga.initial
        for event in events:
            state = self.saga.evolve(state, event)
        return Heard(self.saga, state)


@dataclass(frozen=True)
class Heard:
    """A saga that has come so far."""

    saga: Saga[Any]
    state: Any

    def when(self, event: Any, *, actor: str = "ana") -> "Said":
        """One more event comes."""
        key = getattr(event, contracts()[event.AVRO].key or "", "key")
        meta = Meta(id=UUID(int=7), type=event.AVRO, source="test", subject=str(key), time=AT, actor=actor)
        return Said(tuple(self.saga.react(self.saga.evolve(self.state, event), event, meta)))


@dataclass(frozen=True)
class Said:
    """What the saga said to it."""

    reactions: Sequence[Reaction]

    def then(self, *reactions: Reaction) -> None:
        """Exactly these commands, in this order; one for later as `Later(command, after_s)`.

        Raises:
            AssertionError: it said something else.
        """
        if tuple(self.reactions) != reactions:
            raise AssertionError(difference("commands", reactions, tuple(self.reactions)))

    def nothing(self) -> None:
        """It has nothing to say, neither now nor later."""
        self.then()

    def at_once(self, *commands: Any) -> None:
        """Exactly these commands at once, whatever is put off.

        Raises:
            AssertionError: it said something else.
        """
        said = tuple(one for one in self.reactions if not isinstance(one, Later))
        if said != commands:
            raise AssertionError(difference("commands", commands, said))
