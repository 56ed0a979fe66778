"""The engine of the command API goes on whatever ends an attempt, and says what it was."""

import asyncio
import contextlib
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from commands.api import engine
from commands.api.engine import Engine
from commands.api.outcomes import Outcomes
from commands.api.personal import People
from commands.api.tail import Tail
from infra.health import Health
from infra.kafka.records import Decoder
from infra.personal.keys import Keys
from infra.settings import Settings
from schemas.codec import Codec
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
    async with asyncio.timeout(60):
        while attempts < 3:
            await asyncio.sleep(0.01)
    assert health.components["tail"].cause == said
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert running.cancelled()


async def no_schema(number: int) -> dict[str, Any]:
    raise AssertionError(number)


async def test_a_tail_that_reads_again_is_well_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """One fault of a broker must not keep the command API out of the load balancer until it is restarted."""
    health, settings, decoder = Health("commands"), Settings(), Decoder(Codec({}), no_schema)
    tail = Tail(settings, health, decoder, Outcomes(), People(Keys(settings)))
    said: list[bool] = []

    async def getmany(timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        said.append(health.ready)
        if len(said) == 2:
            raise KafkaConnectionError("gone for a moment")
        if len(said) == 4:
            raise asyncio.CancelledError
        return {}

    async def end_offsets(partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    monkeypatch.setattr(tail._asker, "end_offsets", end_offsets)
    monkeypatch.setattr(tail._consumer, "getmany", getmany)
    await tail.begin()
    with contextlib.suppress(asyncio.CancelledError):
        await tail.run()
    await tail.stop()
    assert said == [True, True, False, True]
