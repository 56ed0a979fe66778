"""Both logs keep the promises that the protocol relies on: the one in memory, and Kafka."""

from collections.abc import AsyncIterator

import pytest

from commands.protocol.conformance import LogConformance
from commands.protocol.log import DecidedLog, MemoryLog
from infra.kafka.decided import KafkaLog, batch_producer
from infra.kafka.topics import create_topics
from infra.settings import Settings
from schemas.topics import TOPICS

TOPIC = TOPICS["profiles"]


class TestMemoryLog(LogConformance):
    """The log of tests and simulations."""

    @pytest.fixture
    async def log(self) -> DecidedLog:
        """With small pages, so that there are several."""
        return MemoryLog(TOPIC, page_size=7)


class TestKafkaLog(LogConformance):
    """The log of production."""

    @pytest.fixture
    async def log(self, settings: Settings) -> AsyncIterator[DecidedLog]:
        """A partition of a new topic."""
        await create_topics(settings, [TOPIC])
        producer = batch_producer(settings, timeout_s=60)
        await producer.start()
        log = KafkaLog(settings, producer, TOPIC, 0)
        yield log
        await log.close()
        await producer.stop()
