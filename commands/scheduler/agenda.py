"""What a scheduler has to do: a fold of the schedules of one partition, ordered by time."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from heapq import heappop, heappush
from typing import NamedTuple, TypeAlias

from schemas.envelope import Recorded
from schemas.schedules import CommandRescheduled, CommandScheduled, ScheduleCancelled, ScheduleFired, ScheduleSent

Identity: TypeAlias = tuple[str, str]
"""Tenant and id of a schedule."""


class Due(NamedTuple):
    """A schedule whose time has come."""

    at: datetime
    identity: Identity
    revision: int


@dataclass
class Agenda:
    """The pending schedules, and those that were fired and whose command may not be on its topic yet.

    Attributes:
        fired: the events, in the order of the log.
    """

    fired: dict[Identity, Recorded] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._pending: dict[Identity, Due] = {}
        self._heap: list[Due] = []  # may hold what is no longer so; `_pending` decides

    def __len__(self) -> int:
        """How many are pending."""
        return len(self._pending)

    def take(self, recorded: Recorded) -> None:
        """An event of the partition, in the order of the log."""
        event, identity = recorded.event, (recorded.meta.tenant, recorded.meta.subject)
        match event:
            case CommandScheduled(due_at=due_at):
                self._set(Due(due_at, identity, 1))
            case CommandRescheduled(due_at=due_at, revision=revision):
                self._set(Due(due_at, identity, revision))
            case ScheduleCancelled():
                self._pending.pop(identity, None)
            case ScheduleFired():
                self._pending.pop(identity, None)
                self.fired[identity] = recorded
            case ScheduleSent():
                self.fired.pop(identity, None)
            case _:
                pass  # answers without effect

    def next_at(self) -> datetime | None:
        """When the next one is due; None when nothing is pending."""
        self._clear()
        return self._heap[0].at if self._heap else None

    def due(self, now: datetime) -> Iterator[Due]:
        """Those whose time has come, the earliest first. They stay pending until the log says that they were fired."""
        while (at := self.next_at()) is not None and at <= now:
            yield heappop(self._heap)

    def again(self, due: Due) -> None:
        """One that was due is due again: it is not known to have been fired."""
        if self._pending.get(due.identity) == due:
            heappush(self._heap, due)

    def _set(self, due: Due) -> None:
        self._pending[due.identity] = due
        heappush(self._heap, due)

    def _clear(self) -> None:
        while self._heap and self._pending.get(self._heap[0].identity) != self._heap[0]:
            heappop(self._heap)
