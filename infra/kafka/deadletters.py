"""Records that a reader gave up on, written where people find them."""

from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID, uuid5

import structlog

from infra.kafka.facts import FactWriter
from infra.kafka.records import Raw
from infra.telemetry import DEAD_LETTERS
from schemas.deadletters import RecordDeadLettered
from schemas.envelope import Meta
from schemas.errors import Problem

NAMESPACE = UUID("1d8f0c37-2f27-5c0b-8a55-3f0f1f6a7c90")

log = structlog.get_logger()


class Letters(Protocol):
    """Where a reader puts what it gives up on."""

    async def write(self, reader: str, raw: Raw, fault: BaseException) -> None:
        """Put a record there, for good."""
        ...


class DeadLetters:
    """Writes dead letters. The same record given up on twice by the same reader has the same id."""

    def __init__(self, writer: FactWriter) -> None:
        self._writer = writer

    async def write(self, reader: str, raw: Raw, fault: BaseException) -> None:
        """Put a record among the dead letters; it is there for good when this returns.

        Raises:
            Unavailable: Kafka did not confirm it.
        """
        code = fault.code if isinstance(fault, Problem) else "unreadable"
        letter = RecordDeadLettered(
            consumer=reader,
            topic=raw.topic.name,
            partition=raw.partition,
            offset=raw.offset,
            key=raw.key,
            headers={name: value or b"" for name, value in raw.headers},
            value=raw.value or b"",
            code=code,
            cause=str(fault) or repr(fault),
        )
        await self._writer.append(letter, _meta(reader, raw))
        DEAD_LETTERS.labels(reader, code).inc()
        log.error("dead letter", reader=reader, position=str(raw.position), code=code, cause=letter.cause)


def _meta(reader: str, raw: Raw) -> Meta:
    return Meta(
        id=uuid5(NAMESPACE, f"{reader}/{raw.position}"),
        type=RecordDeadLettered.AVRO,
        source=f"retrace/{reader}",
        subject=raw.key,
        time=datetime.now(UTC),
    )
