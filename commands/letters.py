"""What stands around a dead letter: an id that is the same on every attempt, so that a repetition is known as one."""

from datetime import UTC, datetime
from uuid import UUID, uuid5

from schemas.deadletters import RecordDeadLettered
from schemas.envelope import Meta

NAMESPACE = UUID("1d8f0c37-2f27-5c0b-8a55-3f0f1f6a7c90")


def letter_meta(letter: RecordDeadLettered) -> Meta:
    """Meta of a dead letter."""
    return Meta(
        id=uuid5(NAMESPACE, f"{letter.consumer}/{letter.topic}/{letter.partition}/{letter.offset}"),
        type=letter.AVRO,
        source="retrace/processor",
        subject=letter.key,
        time=datetime.now(UTC),
    )
