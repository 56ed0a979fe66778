"""A task that is told to end does end."""

import asyncio

import pytest

from infra.ending import ended


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask again at once."""
    monkeypatch.setattr("infra.ending.AGAIN_S", 0.01)


async def test_a_cancellation_that_is_swallowed_is_said_again() -> None:
    """Given a library that takes one cancellation for its result, when the task is ended, then it ends all the same."""
    swallowed = 0

    async def work() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if swallowed == 2:
                    raise
                swallowed += 1

    task = asyncio.create_task(work())
    await asyncio.sleep(0)

    await asyncio.wait_for(ended(task), 60)

    assert task.cancelled()
    assert swallowed == 2


async def test_what_it_failed_with_is_told() -> None:
    """Given a task that has failed, when it is ended, then nobody takes it for one that was stopped."""

    async def work() -> None:
        raise KeyError("gone")

    task = asyncio.create_task(work())
    await asyncio.wait({task})

    with pytest.raises(KeyError, match="gone"):
        await ended(task)


async def test_who_waits_can_be_ended_too() -> None:
    """Given somebody who ends a task that will not, when they are cancelled, then they do not wait on."""

    async def deaf() -> None:
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                continue

    free = asyncio.Event()
    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    waiting = asyncio.create_task(ended(task))
    await asyncio.sleep(0.02)

    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    free.set()
    await asyncio.wait({task})
