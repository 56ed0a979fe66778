"""Starting and stopping a service."""

import asyncio

import pytest

from infra import service
from infra.health import Health
from infra.service import run_worker
from infra.settings import HttpSettings, Settings
from schemas.errors import Incompatible, Unavailable


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(service, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(service, "configure_logging", lambda *_: None)
    return Settings(health=HttpSettings(port=0))


async def test_work_begins_again_while_something_is_away(settings: Settings) -> None:
    """A broker that is away for a minute must not leave a service dead until a person looks."""
    attempts: list[bool] = []

    async def work(_: Settings, health: Health) -> None:
        attempts.append(health.ready)
        if len(attempts) < 3:
            raise ExceptionGroup("tasks", [Unavailable("the registry is away")])

    await asyncio.wait_for(run_worker("worker", settings, work), 60)

    assert len(attempts) == 3


async def test_a_fault_that_waiting_cannot_mend_ends_the_process(settings: Settings) -> None:
    """Beginning again for ever on bytes that will never fit hides the fault."""

    async def work(_: Settings, __: Health) -> None:
        raise Incompatible("a schema that does not fit")

    with pytest.raises(ExceptionGroup) as raised:
        await asyncio.wait_for(run_worker("worker", settings, work), 60)

    assert raised.group_contains(Incompatible)


async def test_work_that_a_library_cancels_begins_again(settings: Settings) -> None:
    """A Kafka consumer can end with a cancellation of its own; a worker that takes it for a stop is gone in silence."""
    attempts: list[bool] = []

    async def work(_: Settings, health: Health) -> None:
        attempts.append(health.ready)
        if len(attempts) < 3:
            raise asyncio.CancelledError

    await asyncio.wait_for(run_worker("worker", settings, work), 60)

    assert len(attempts) == 3
