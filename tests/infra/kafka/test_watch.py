"""Noticing that Kafka is away, and that it is back."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from infra.health import Health
from infra.kafka import watch as watch_module
from infra.kafka.consumer import stopped
from infra.kafka.watch import COMPONENT, watch
from infra.settings import Settings

AT = TopicPartition("t", 0)


async def test_who_has_no_partition_any_more_still_hears_that_kafka_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an outage the partitions may be somebody else's; red for ever would be a lie."""
    monkeypatch.setattr(watch_module, "EVERY_S", 0.001)
    health = Health("worker")
    said: list[bool | None] = []

    class Asker:
        async def end_offsets(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
            if len(said) == 3:
                raise asyncio.CancelledError
            if health.components:
                said.append(health.components[COMPONENT].ok)
            else:
                said.append(None)
                raise KafkaConnectionError("gone")
            return dict.fromkeys(places, 0)

    mine = iter([AT])
    with contextlib.suppress(asyncio.CancelledError):
        await watch(Settings(), health, Asker(), lambda: next(mine, None))
    assert said == [None, False, True]


@pytest.mark.parametrize("gives_up", [True, False])
async def test_a_consumer_that_gives_up_while_it_stops_lets_go_of_its_connections(gives_up: bool) -> None:
    """Its cancellation must not become that of whoever stops it: a partition would lose its owner without a word."""
    closed: list[str] = []

    class Client:
        async def close(self) -> None:
            closed.append("client")

    class Consumer:
        _client = Client()

        async def stop(self) -> None:
            if gives_up:
                raise asyncio.CancelledError
            await self._client.close()

    consumer: Any = Consumer()
    await stopped(consumer)
    assert closed == ["client"]
