"""Generated from schemas/avro/deadletters; change those files and run `python -m schemas.generate`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordDeadLettered:
    """A record that a reader could not process.

    Attributes:
        consumer: Reader that gave up.
        topic: Topic, without prefix.
        partition: Partition.
        offset: Offset.
        key: Key of the record.
        headers: Headers of the record.
        value: The record as it stood.
        code: Stable name of the cause.
        cause: What went wrong.
    """

    AVRO: ClassVar[str] = "retrace.deadletters.RecordDeadLettered"

    consumer: str
    topic: str
    partition: int
    offset: int
    key: str
    headers: Mapping[str, bytes]
    value: bytes
    code: str
    cause: str


DeadlettersEvent: TypeAlias = RecordDeadLettered
