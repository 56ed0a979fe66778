"""Putting commands on their topics."""

import asyncio
from typing import Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from infra.kafka.connect import aiokafka_options
from infra.kafka.topics import physical
from infra.settings import Settings
from schemas.codec import Codec, Record
from schemas.contracts import contracts
from schemas.envelope import Meta
from schemas.errors import TooLarge, Unavailable
from schemas.topics import TOPICS


class CommandSender:
    """Appends commands with an idempotent producer, so that each stands in the log once."""

    def __init__(self, settings: Settings, codec: Codec) -> None:
        self._settings = settings
        self._codec = codec
        self._producer = AIOKafkaProducer(
            **aiokafka_options(settings.kafka), acks="all", enable_idempotence=True, linger_ms=0
        )

    async def __aenter__(self) -> Self:
        try:
            await self._producer.start()
        except (KafkaError, OSError) as fault:
            await self._producer.stop()
            raise Unavailable(f"Kafka at {self._settings.kafka.bootstrap} does not answer: {fault!r}") from fault
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._producer.stop()

    async def partitions(self, topic: str) -> int:
        """Number of partitions of a topic, named without prefix."""
        return len(await self._producer.partitions_for(physical(self._settings, topic)))

    async def send(self, command: Record, meta: Meta) -> None:
        """Append one command; it is durable when this returns.

        Raises:
            TooLarge: no topic takes a record of this size.
            Unavailable: Kafka did not confirm in time; the command may still be carried out, once.
        """
        topic = TOPICS[contracts()[command.AVRO].topic or ""].commands
        try:
            async with asyncio.timeout(self._settings.admission.confirm_s):
                await self._producer.send_and_wait(
                    physical(self._settings, topic),
                    self._codec.encode(command),
                    key=meta.subject.encode(),
                    headers=meta.headers(),
                )
        except MessageSizeTooLargeError as fault:
            raise TooLarge("the command is larger than a record of the log may be: send less at once") from fault
        except (KafkaError, OSError, TimeoutError) as fault:
            raise Unavailable(
                f"Kafka did not confirm the command {meta.id} in time, and may still carry it out: "
                f"look at /commands/{meta.id}, or send it again with the same Idempotency-Key",
                extra={"command_id": str(meta.id), "status_url": f"/commands/{meta.id}"},
            ) from fault
