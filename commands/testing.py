"""Saying what an aggregate does: given these events, when this command comes, then those events, or a refusal."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from commands.aggregate import Aggregate
from schemas.envelope import Meta
from schemas.errors import Problem
from schemas.testing import difference

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def meta_for(command: Any, *, actor: str = "ana") -> Meta:
    """A meta in which nothing is special."""
    return Meta(id=UUID(int=7), type=command.AVRO, source="test", subject="subject", time=AT, actor=actor)


@dataclass(frozen=True)
class Spec:
    """The examples of one aggregate."""

    aggregate: Aggregate[Any, Any, Any]

    def given(self, *events: Any) -> "Given":
        """What has happened before; nothing at all when no event is named."""
        state = self.aggregate.initial
        for event in events:
            state = self.aggregate.evolve(state, event)
        return Given(self.aggregate, state)


@dataclass(frozen=True)
class Given:
    """A state to send a command to."""

    aggregate: Aggregate[Any, Any, Any]
    state: Any

    def when(self, command: Any, *, actor: str = "ana") -> "Result":
        """Send a command on behalf of somebody."""
        try:
            decided = self.aggregate.decide(self.state, command, meta_for(command, actor=actor))
        except Problem as problem:
            return Result((), problem)
        return Result(tuple(decided), None)


@dataclass(frozen=True)
class Result:
    """What the command led to."""

    events: tuple[Any, ...]
    problem: Problem | None

    def then(self, *events: Any) -> None:
        """Exactly these events.

        Raises:
            AssertionError: others came out, or a refusal did.
        """
        if self.problem is not None:
            raise AssertionError(f"refused with {self.problem.code} ({self.problem.status}): {self.problem.detail}")
        if self.events != events:
            raise AssertionError(difference("events", events, self.events))

    def nothing(self) -> None:
        """Accepted, and nothing changed."""
        self.then()

    def refused(self, code: str, status: int = 409) -> None:
        """Refused for this reason.

        Raises:
            AssertionError: it was not refused, or for another reason.
        """
        if self.problem is None:
            raise AssertionError(f"not refused with {code}: {difference('events', (), self.events)}")
        if (self.problem.code, self.problem.status) != (code, status):
            said = f"{self.problem.code} ({self.problem.status}): {self.problem.detail}"
            raise AssertionError(f"refused, but not with {code} ({status}): {said}")
