"""The engine of the command API goes on whatever ends an attempt, and says what it was."""

import asyncio
import contextlib
from contextlib import AsyncExitStack

import pytest

from commands.api import engine
from commands.api.engine import Engine
from infra.health import Health
from infra.settings import Settings
from schemas.errors import Unavailable


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Unavailable("Kafka is away"), "Kafka is away"),
        (ExceptionGroup("two", [OSError("no route"), KeyError("x")]), "no route; 'x'"),
        (NameError("name 'x' is not defined"), "name 'x' is not defined"),
        (asyncio.CancelledError(), "the Kafka client gave up"),
    ],
)
async def test_an_attempt_that_fails_is_told_and_tried_again(
    fault: BaseException, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command API that stops in silence answers 503 for ever, and nobody knows why."""
    attempts = 0

    class Failing(Engine):
        async def _serve(self, stack: AsyncExitStack) -> None:
            nonlocal attempts
            attempts += 1
            raise fault

    monkeypatch.setattr(engine, "RETRY_S", 0.01)
    health = Health("commands")
    running = asyncio.create_task(Failing(Settings(), health).run())
    async with asyncio.timeout(5):
        while attempts < 3:
            await asyncio.sleep(0.01)
    assert health.components["tail"].cause == said
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert running.cancelled()
