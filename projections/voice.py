"""What is said on the log of events that a read model cannot take."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID, uuid5

from infra.kafka.at import open_records
from infra.kafka.deadletters import DeadLetters
from infra.kafka.facts import FactWriter
from infra.kafka.records import Raw
from infra.settings import Settings
from projections.parked import Parked
from projections.request import Outcome
from projections.view import Projection
from schemas.envelope import Meta

NAMESPACE = UUID("6a3f2c0e-9a8e-5d3b-8f43-52f1ad0b7d11")


class Voice(Protocol):
    """Says on the log what becomes of parked events; each is there for good when it returns."""

    async def say(self, outcome: Outcome, key: str, of: Meta, mark: str) -> None:
        """Say what a request led to; `mark` tells this outcome from others of the request."""
        ...

    async def letter(self, projection: Projection, event: Parked, raw: Raw) -> None:
        """Put an event among the dead letters of a read model."""
        ...


class LogVoice:
    """Says it on the topic `dead-letters`. What is said twice has the same id."""

    def __init__(self, writer: FactWriter) -> None:
        self._writer = writer
        self._letters = DeadLetters(writer)

    async def say(self, outcome: Outcome, key: str, of: Meta, mark: str) -> None:
        """See `Voice`.

        Raises:
            Unavailable: Kafka did not confirm it.
        """
        meta = Meta(
            id=uuid5(NAMESPACE, f"{outcome.AVRO}/{of.id}/{mark}"),
            type=outcome.AVRO,
            source="retrace/projector",
            subject=key,
            time=datetime.now(UTC),
            actor=of.actor,
            tenant=of.tenant,
            correlation_id=of.correlation_id,
            causation_id=str(of.id),
            traceparent=of.traceparent,
        )
        await self._writer.append(outcome, meta)

    async def letter(self, projection: Projection, event: Parked, raw: Raw) -> None:
        """See `Voice`.

        Raises:
            Unavailable: Kafka did not confirm it.
        """
        await self._letters.park(projection.name, projection.version, raw, event.code, event.cause)


@dataclass(frozen=True)
class Announcer:
    """Puts every event that a fold sets aside among the dead letters, as it stands in the log."""

    settings: Settings
    voice: LogVoice
    projection: Projection

    async def poisoned(self, event: Parked, raw: Raw | None) -> None:
        """See `parking.Told`.

        Raises:
            Unavailable: Kafka did not confirm it.
        """
        await self.voice.letter(self.projection, event, raw or await self._again(event))

    async def _again(self, event: Parked) -> Raw:
        position = event.position
        async with open_records(self.settings, position.topic) as records:
            (raw,) = await records.read(position.partition, [position.offset])
        return raw
