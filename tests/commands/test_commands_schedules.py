"""Scheduled commands: the rules, the agenda, and the whole way with a scheduler that is killed."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.aggregates import schedule as schedules
from commands.scheduler import worker
from commands.scheduler.agenda import Agenda
from commands.testing import AT as NOW
from commands.testing import Spec
from infra.health import Health
from schemas.envelope import Meta, Recorded
from schemas.identity import derived_id
from schemas.position import Position
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
    ScheduleSent,
)

from ..eventually import eventually
from ..roles import running
from .writing import is_registered, registered

schedule = Spec(schedules.AGGREGATE)
DUE = NOW - timedelta(seconds=1)
LATER = NOW + timedelta(hours=1)
DATA = '{"user_id":"ana"}'


def asked(due_at: datetime = DUE) -> ScheduleCommand:
    return ScheduleCommand(schedule_id="s", due_at=due_at, command_type="RegisterUser", data=DATA)


def made(due_at: datetime = DUE) -> CommandScheduled:
    return CommandScheduled(schedule_id="s", due_at=due_at, command_type="RegisterUser", data=DATA, actor="ana")


def fired(revision: int = 1) -> ScheduleFired:
    command_id = str(derived_id("default", f"schedule/s/{revision}"))
    return ScheduleFired(
        schedule_id="s",
        revision=revision,
        command_type="RegisterUser",
        data=DATA,
        sent_command_id=command_id,
        actor="ana",
    )


CANCELLED = ScheduleCancelled(schedule_id="s")
CANCEL, FIRE = CancelSchedule(schedule_id="s"), FireSchedule(schedule_id="s", revision=1)


def test_a_command_is_scheduled_once() -> None:
    """An id names one schedule for ever, so that a retry is told apart from another wish."""
    schedule.given().when(asked()).then(made())
    schedule.given(made()).when(asked()).refused("schedule_exists")


def test_a_cancellation_and_the_firing_exclude_each_other() -> None:
    """Whichever stands first in the log wins, and the other one is told."""
    schedule.given(made()).when(CANCEL).then(CANCELLED)
    schedule.given(made(), CANCELLED).when(FIRE).refused("schedule_cancelled")
    schedule.given(made()).when(FIRE).then(fired())
    schedule.given(made(), fired()).when(CANCEL).refused("already_fired")
    schedule.given(made(), CANCELLED).when(CANCEL).nothing()


def test_only_the_newest_time_fires() -> None:
    """A scheduler that has not heard of the new time yet must not fire at the old one."""
    moved = CommandRescheduled(schedule_id="s", due_at=LATER, revision=2)
    schedule.given(made()).when(RescheduleCommand(schedule_id="s", due_at=LATER)).then(moved)
    schedule.given(made(), moved).when(FIRE).refused("rescheduled")
    schedule.given(made(), moved).when(FireSchedule(schedule_id="s", revision=2)).refused("not_due")
    schedule.given(made()).when(RescheduleCommand(schedule_id="s", due_at=DUE)).nothing()


def test_what_was_sent_is_reported_once() -> None:
    """A scheduler that was killed before it reported sends again; the report stands once."""
    report = ReportSent(schedule_id="s", revision=1)
    sent = ScheduleSent(schedule_id="s", revision=1, sent_command_id=fired().sent_command_id)
    schedule.given(made()).when(report).refused("not_fired")
    schedule.given(made(), fired()).when(report).then(sent)
    schedule.given(made(), fired(), sent).when(report).nothing()


def test_an_unknown_schedule_is_not_found() -> None:
    """A typing error in an id must not look like success."""
    schedule.given().when(CANCEL).refused("unknown_schedule", 404)


def heard(event: Any, schedule_id: str, offset: int) -> Recorded:
    meta = Meta(id=uuid.UUID(int=offset), type=event.AVRO, source="test", subject=schedule_id, time=NOW)
    return Recorded(event, meta, Position("schedules", 0, offset))


STEPS = st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["make", "move", "cancel", "fire"]), st.integers(0, 9)))


@given(STEPS)
def test_the_agenda_is_what_the_schedules_say(steps: list[tuple[int, str, int]]) -> None:
    """Whatever happens to some schedules, exactly those that are pending come up, in the order of their times."""
    agenda, states = Agenda(), dict[str, schedules.Schedule]()
    for offset, (number, step, minute) in enumerate(steps):
        name, due_at = f"s{number}", NOW + timedelta(minutes=minute)
        state = states.get(name, schedules.Schedule())
        event: Any = None
        match step, state.status:
            case "make", None:
                event = CommandScheduled(schedule_id=name, due_at=due_at, command_type="c", data="{}", actor="a")
            case "move", "pending":
                event = CommandRescheduled(schedule_id=name, due_at=due_at, revision=state.revision + 1)
            case "cancel", "pending":
                event = ScheduleCancelled(schedule_id=name)
            case "fire", "pending":
                event = ScheduleFired(
                    schedule_id=name,
                    revision=state.revision,
                    command_type="c",
                    data="{}",
                    sent_command_id="",
                    actor="a",
                )
        if event is not None:
            agenda.take(heard(event, name, offset))
            states[name] = schedules.evolve(state, event)
    pending = {(s.due_at, ("default", name), s.revision) for name, s in states.items() if s.status == "pending"}
    assert len(agenda) == len(pending)
    now = NOW + timedelta(minutes=5)
    due = list(agenda.due(now))
    assert {tuple(one) for one in due} == {one for one in pending if one[0] <= now}
    assert [one.at for one in due] == sorted(one.at for one in due)
    assert list(agenda.due(now)) == []
    for one in due:
        agenda.again(one)
    assert list(agenda.due(now)) == due


def test_a_hundred_thousand_pending_schedules_come_up_in_order() -> None:
    """A campaign schedules one command for each user; none may be lost among the others."""
    agenda = Agenda()
    for number in range(100_000):
        due_at = NOW + timedelta(seconds=number * 7919 % 100_000)
        event = CommandScheduled(schedule_id=str(number), due_at=due_at, command_type="c", data="{}", actor="a")
        agenda.take(heard(event, str(number), number))
    first = list(agenda.due(NOW + timedelta(seconds=49_999)))
    assert (len(first), len(agenda)) == (50_000, 100_000)
    assert [one.at for one in first] == sorted(one.at for one in first)
    assert agenda.next_at() == NOW + timedelta(seconds=50_000)


async def schedule_user(write_side: Any, due_at: datetime, schedule_id: str | None = None) -> tuple[str, str]:
    """Schedule the registration of somebody new; returns schedule and user."""
    user, schedule_id = uuid.uuid4().hex, schedule_id or uuid.uuid4().hex
    body = {
        "schedule_id": schedule_id,
        "due_at": due_at.isoformat(),
        "command_type": "RegisterUser",
        "data": {"user_id": user, "name": "Later"},
    }
    answer = await write_side.call("POST", "/schedules", json=body)
    assert (answer.status, answer.body["events"]) == (200, ["CommandScheduled"]), answer
    return schedule_id, user


async def ready(health: Health) -> None:
    """Wait until a scheduler is."""

    async def is_so() -> bool:
        return health.ready

    await eventually(is_so, within_s=60)


async def test_a_command_is_sent_when_its_time_comes(write_side: Any) -> None:
    """The whole way: over HTTP, at the time, in the name of who scheduled it; a cancelled one never."""
    now = datetime.now(UTC)
    cancelled, nobody = await schedule_user(write_side, now)
    moved, late = await schedule_user(write_side, now)
    assert (await write_side.call("DELETE", f"/schedules/{cancelled}")).status == 200
    body = {"due_at": (now + timedelta(days=1)).isoformat()}
    assert (await write_side.call("PUT", f"/schedules/{moved}/due", json=body)).status == 200
    async with running(worker.work, write_side.settings, "scheduler") as health:
        await ready(health)
        soon = datetime.now(UTC) + timedelta(seconds=1.5)
        _, user = await schedule_user(write_side, soon)
        await registered(write_side, user)
        assert datetime.now(UTC) >= soon
        await ready(health)
        await asyncio.sleep(0.5)
        assert not await is_registered(write_side, nobody)
        assert not await is_registered(write_side, late)


async def test_what_came_due_while_no_scheduler_ran_is_sent_once(write_side: Any) -> None:
    """A restart fires what is overdue, and what two schedulers both fire takes effect once."""
    schedule_id, user = await schedule_user(write_side, datetime.now(UTC) - timedelta(hours=1))
    async with running(worker.work, write_side.settings, "scheduler"):
        await registered(write_side, user)
    late = await write_side.call("DELETE", f"/schedules/{schedule_id}")
    assert (late.status, late.code) == (409, "already_fired")
    async with (
        running(worker.work, write_side.settings, "scheduler"),
        running(worker.work, write_side.settings, "scheduler") as health,
    ):
        await ready(health)
        _, other = await schedule_user(write_side, datetime.now(UTC))
        await registered(write_side, other)
    again = await write_side.call("POST", "/users", json={"user_id": other})
    assert (again.status, again.body["version"]) == (409, 2), "registered, and its preferences set once"


@pytest.mark.parametrize(
    ("change", "status", "code", "pointer"),
    [
        ({"command_type": "RegisterUsr"}, 422, "unknown_command_type", "/command_type"),
        ({"data": {"user": "x"}}, 422, "invalid", "/data/user"),
        ({"due_at": "tomorrow"}, 422, "invalid", "/due_at"),
        ({"command_type": "ScheduleCommand"}, 422, "invalid", "/command_type"),
    ],
)
async def test_what_could_not_be_sent_is_not_scheduled(
    write_side: Any, change: dict[str, Any], status: int, code: str, pointer: str
) -> None:
    """When the time comes nobody is there to be told; so the command is judged now."""
    body = {"due_at": "2030-01-01T00:00:00Z", "command_type": "RegisterUser", "data": {"user_id": "u"}} | change
    answer = await write_side.call("POST", "/schedules", json=body)
    assert (answer.status, answer.code) == (status, code)
    assert answer.body["errors"][0]["pointer"] == pointer
