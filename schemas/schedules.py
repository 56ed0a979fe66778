"""Generated from schemas/avro/schedules; change those files and run `python -m schemas.generate`."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelSchedule:
    """Do not send it.

    Attributes:
        schedule_id: Which schedule.
        reason: Why.
    """

    AVRO: ClassVar[str] = "retrace.schedules.CancelSchedule"

    schedule_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRescheduled:
    """It will be sent at another time.

    Attributes:
        schedule_id: Which schedule.
        due_at: When the command is sent; one that has passed means at once.
        revision: How often the time was set: 1 at first.
    """

    AVRO: ClassVar[str] = "retrace.schedules.CommandRescheduled"

    schedule_id: str
    due_at: datetime
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandScheduled:
    """A command will be sent.

    Attributes:
        schedule_id: Which schedule.
        due_at: When the command is sent; one that has passed means at once.
        command_type: Type of the command that is sent then, such as RollBackDeployment.
        data: Fields of that command.
        actor: Who scheduled it; the command is sent in their name.
        correlation_id: Of the request that scheduled it.
    """

    AVRO: ClassVar[str] = "retrace.schedules.CommandScheduled"

    schedule_id: str
    due_at: datetime
    command_type: str
    data: str
    actor: str
    correlation_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FireSchedule:
    """The time has come; said by the scheduler.

    Attributes:
        schedule_id: Which schedule.
        revision: How often the time was set: 1 at first.
    """

    AVRO: ClassVar[str] = "retrace.schedules.FireSchedule"

    schedule_id: str
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSent:
    """The command is on its topic, or cannot be sent; said by the scheduler.

    Attributes:
        schedule_id: Which schedule.
        revision: How often the time was set: 1 at first.
        problem: Why it could not be sent; empty when it was.
    """

    AVRO: ClassVar[str] = "retrace.schedules.ReportSent"

    schedule_id: str
    revision: int
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RescheduleCommand:
    """Send it at another time.

    Attributes:
        schedule_id: Which schedule.
        due_at: When the command is sent; one that has passed means at once.
    """

    AVRO: ClassVar[str] = "retrace.schedules.RescheduleCommand"

    schedule_id: str
    due_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleCancelled:
    """It will not be sent.

    Attributes:
        schedule_id: Which schedule.
        reason: Why.
    """

    AVRO: ClassVar[str] = "retrace.schedules.ScheduleCancelled"

    schedule_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleCommand:
    """Send a command later.

    Attributes:
        schedule_id: Which schedule.
        due_at: When the command is sent; one that has passed means at once.
        command_type: Type of the command that is sent then, such as RollBackDeployment.
        data: Fields of that command.
    """

    AVRO: ClassVar[str] = "retrace.schedules.ScheduleCommand"

    schedule_id: str
    due_at: datetime
    command_type: str
    data: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleFired:
    """It is decided that the command is sent, now and once.

    Attributes:
        schedule_id: Which schedule.
        revision: How often the time was set: 1 at first.
        command_type: Type of the command that is sent then, such as RollBackDeployment.
        data: Fields of that command.
        sent_command_id: Id of the command that is sent; it follows from the schedule and its revision.
        actor: Who scheduled it; the command is sent in their name.
        correlation_id: Of the request that scheduled it.
    """

    AVRO: ClassVar[str] = "retrace.schedules.ScheduleFired"

    schedule_id: str
    revision: int
    command_type: str
    data: str
    sent_command_id: str
    actor: str
    correlation_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSent:
    """The command is on its topic, or could not be sent.

    Attributes:
        schedule_id: Which schedule.
        revision: How often the time was set: 1 at first.
        sent_command_id: Id of the command that is sent; it follows from the schedule and its revision.
        problem: Why it could not be sent; empty when it was.
    """

    AVRO: ClassVar[str] = "retrace.schedules.ScheduleSent"

    schedule_id: str
    revision: int
    sent_command_id: str
    problem: str = ""


SchedulesEvent: TypeAlias = CommandRescheduled | CommandScheduled | ScheduleCancelled | ScheduleFired | ScheduleSent

SchedulesCommand: TypeAlias = CancelSchedule | FireSchedule | ReportSent | RescheduleCommand | ScheduleCommand
