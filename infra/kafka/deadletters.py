"""Records that a reader gave up on, written where people find them."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID, uuid5

import structlog

from infra.kafka.facts import FactWriter
from infra.kafka.records import Raw
from infra.telemetry import DEAD_LETTERS
from schemas.deadletters import RecordDeadLettered
from schemas.envelope import Meta, tenant_of
from schemas.errors import Problem
from schemas.position import Position

NAMESPACE = UUID("1d8f0c37-2f27-5c0b-8a55-3f0f1f6a7c90")

log = structlog.get_logger()


class Letters(Protocol):
    """Where a reader puts what it gives up on."""

    async def write(self, reader: str, raw: Raw, fault: BaseException) -> None:
        """Put a record there, for good."""
        ...


def subject_of(key: str, position: Position | str) -> str:
    """Key of what is said of a record: the record's own; one that has none is told apart by its place."""
    return key or str(position)


def letter_id(reader: str, position: Position, version: int = 0) -> UUID:
    """Id of the dead letter of a record: the same however often the same reader gives it up.

    Args:
        version: of the read model; 0 for another reader.
    """
    return uuid5(NAMESPACE, f"{reader}/v{version}/{position}" if version else f"{reader}/{position}")


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
        await self._append(_letter(reader, raw, code, str(fault) or repr(fault)))

    async def park(self, view: str, version: int, raw: Raw, code: str, cause: str) -> None:
        """The same for a read model that keeps the later records of the key waiting.

        Raises:
            Unavailable: Kafka did not confirm it.
        """
        await self._append(replace(_letter(view, raw, code, cause), parked=True, version=version))

    async def _append(self, letter: RecordDeadLettered) -> None:
        await self._writer.append(letter, _meta(letter))
        DEAD_LETTERS.labels(letter.consumer, letter.code).inc()
        log.error("dead letter", reader=letter.consumer, position=letter.position, code=letter.code, cause=letter.cause)


def _letter(reader: str, raw: Raw, code: str, cause: str) -> RecordDeadLettered:
    return RecordDeadLettered(
        consumer=reader,
        topic=raw.topic.name,
        partition=raw.partition,
        offset=raw.offset,
        key=raw.key,
        headers={name: value or b"" for name, value in raw.headers},
        value=raw.value or b"",
        code=code,
        cause=cause,
        position=str(raw.position),
        type=raw.header("ce_type").decode(errors="replace"),
    )


def _meta(letter: RecordDeadLettered) -> Meta:
    return Meta(
        id=letter_id(letter.consumer, Position(letter.topic, letter.partition, letter.offset), letter.version),
        type=RecordDeadLettered.AVRO,
        source=f"retrace/{letter.consumer}",
        subject=subject_of(letter.key, letter.position),
        time=datetime.now(UTC),
        tenant=tenant_of(list(letter.headers.items())),
    )
