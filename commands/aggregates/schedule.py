"""A schedule: a command that is to be sent at some time, once.

Firing is a decision like any other, and comes before the sending. So a cancellation either stands before it, and the
command is never sent, or comes too late and is told so; there is no moment between in which nobody knows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal, assert_never

from commands.aggregate import Aggregate
from schemas.envelope import Meta
from schemas.errors import NotFound, Rejected
from schemas.identity import derived_id
from schemas.schedules import (
    CancelSchedule,
    CommandRescheduled,
    CommandScheduled,
    FireSchedule,
    ReportSent,
    RescheduleCommand,
    ScheduleCancelled,
    ScheduleCommand,
    ScheduleFired,
    SchedulesCommand,
    ScheduleSent,
    SchedulesEvent,
)

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Schedule:
    """What later rules depend on.

    Attributes:
        status: how far it has come; None while there is no such schedule.
        due_at: when the command is to be sent.
        revision: how often that was set.
        command_type: of the command.
        data: its fields, as JSON; empty once it has been fired or cancelled.
        actor: who scheduled it.
        correlation_id: of the request that did.
    """

    status: Literal["pending", "fired", "sent", "cancelled"] | None = None
    due_at: datetime = LONG_AGO
    revision: int = 0
    command_type: str = ""
    data: str = ""
    actor: str = ""
    correlation_id: str = ""


def decide(state: Schedule, command: SchedulesCommand, meta: Meta) -> Sequence[SchedulesEvent]:
    """What a command leads to.

    Raises:
        NotFound: no such schedule.
        Rejected: the id is taken, the command was sent or cancelled already, or its time has not come.
    """
    match command:
        case ScheduleCommand():
            return [_scheduled(state, command, meta)]
        case RescheduleCommand(schedule_id=schedule_id, due_at=due_at):
            _must_wait(state, schedule_id)
            if due_at == state.due_at:
                return []
            return [CommandRescheduled(schedule_id=schedule_id, due_at=due_at, revision=state.revision + 1)]
        case CancelSchedule(schedule_id=schedule_id, reason=reason):
            if state.status == "cancelled":
                return []
            _must_wait(state, schedule_id)
            return [ScheduleCancelled(schedule_id=schedule_id, reason=reason)]
        case FireSchedule():
            return [_fired(state, command, meta)]
        case ReportSent():
            return _sent(state, command, meta)
        case _:
            assert_never(command)


def _scheduled(state: Schedule, command: ScheduleCommand, meta: Meta) -> CommandScheduled:
    if state.status is not None:
        raise Rejected(
            f"there is a schedule '{command.schedule_id}' already: choose another id, or change its time",
            code="schedule_exists",
        )
    return CommandScheduled(
        schedule_id=command.schedule_id,
        due_at=command.due_at,
        command_type=command.command_type,
        data=command.data,
        actor=meta.actor,
        correlation_id=meta.correlation_id,
    )


def _fired(state: Schedule, command: FireSchedule, meta: Meta) -> ScheduleFired:
    _must_wait(state, command.schedule_id)
    if command.revision != state.revision:
        raise Rejected(f"it was rescheduled: revision {state.revision} counts", code="rescheduled")
    if meta.time < state.due_at:
        raise Rejected(f"it is due at {state.due_at.isoformat()}, and it is {meta.time.isoformat()}", code="not_due")
    return ScheduleFired(
        schedule_id=command.schedule_id,
        revision=state.revision,
        command_type=state.command_type,
        data=state.data,
        sent_command_id=_command_id(meta.tenant, command.schedule_id, state.revision),
        actor=state.actor,
        correlation_id=state.correlation_id,
    )


def _sent(state: Schedule, command: ReportSent, meta: Meta) -> Sequence[ScheduleSent]:
    if state.status == "sent":
        return []
    if state.status != "fired":
        raise Rejected(f"schedule '{command.schedule_id}' has not been fired", code="not_fired")
    return [
        ScheduleSent(
            schedule_id=command.schedule_id,
            revision=command.revision,
            sent_command_id=_command_id(meta.tenant, command.schedule_id, command.revision),
            problem=command.problem,
        )
    ]


def _must_wait(state: Schedule, schedule_id: str) -> None:
    if state.status is None:
        raise NotFound(f"there is no schedule '{schedule_id}'", code="unknown_schedule")
    if state.status == "cancelled":
        raise Rejected(f"schedule '{schedule_id}' is cancelled: make another one", code="schedule_cancelled")
    if state.status != "pending":
        raise Rejected(f"the command of schedule '{schedule_id}' is sent already", code="already_fired")


def _command_id(tenant: str, schedule_id: str, revision: int) -> str:
    """The same however often it is sent, so that it takes effect once."""
    return str(derived_id(tenant, f"schedule/{schedule_id}/{revision}"))


def evolve(state: Schedule, event: SchedulesEvent) -> Schedule:
    """The state after an event."""
    match event:
        case CommandScheduled():
            return Schedule(
                "pending",
                event.due_at,
                1,
                event.command_type,
                event.data,
                event.actor,
                event.correlation_id,
            )
        case CommandRescheduled(due_at=due_at, revision=revision):
            return replace(state, due_at=due_at, revision=revision)
        case ScheduleCancelled():
            return replace(state, status="cancelled", data="")
        case ScheduleFired():
            return replace(state, status="fired", data="")
        case ScheduleSent():
            return replace(state, status="sent")
        case _:
            assert_never(event)


AGGREGATE = Aggregate(name="schedule", topic="schedules", initial=Schedule(), decide=decide, evolve=evolve)
