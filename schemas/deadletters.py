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
        position: Where the record stands: topic/partition/offset; empty in the first letters.
        parked: Whether later records of the key wait behind it; otherwise the reader has gone on.
        type: Type of the record, as its headers name it; empty when they do not.
        version: Version of the read model; 0 for another reader.
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
    position: str = ""
    parked: bool = False
    type: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRecovered:
    """A read model has taken a record that it could not take before.

    Attributes:
        letter_id: Id of the dead letter.
        view: Read model.
        position: Of the record: topic/partition/offset.
        key: Key of the record.
        request_id: Id of the request that led to it.
    """

    AVRO: ClassVar[str] = "retrace.deadletters.RecordRecovered"

    letter_id: str
    view: str
    position: str
    key: str
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSkipped:
    """A read model leaves out a record, now and in every fold to come.

    Attributes:
        letter_id: Id of the dead letter.
        view: Read model.
        position: Of the record: topic/partition/offset.
        key: Key of the record.
        reason: Why.
        request_id: Id of the request that led to it.
    """

    AVRO: ClassVar[str] = "retrace.deadletters.RecordSkipped"

    letter_id: str
    view: str
    position: str
    key: str
    reason: str
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSettled:
    """A read model has done what a request asked for.

    Attributes:
        request_id: Id of the request.
        view: Read model.
        version: Version of the read model's declaration.
        selection: What the request asked for, for people.
        recovered: Records taken that could not be taken before.
        failed: Records that still cannot be taken.
        skipped: Records left out.
        released: Records that had waited behind them and have been taken.
        problem: Why nothing was done; empty when something was.
    """

    AVRO: ClassVar[str] = "retrace.deadletters.RequestSettled"

    request_id: str
    view: str
    version: int
    selection: str
    recovered: int
    failed: int
    skipped: int
    released: int
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryFailed:
    """A read model still cannot take a record.

    Attributes:
        letter_id: Id of the dead letter.
        view: Read model.
        position: Of the record: topic/partition/offset.
        key: Key of the record.
        code: Stable name of the cause.
        cause: What went wrong.
        attempts: How often it has been tried.
        request_id: Id of the request that led to it.
    """

    AVRO: ClassVar[str] = "retrace.deadletters.RetryFailed"

    letter_id: str
    view: str
    position: str
    key: str
    code: str
    cause: str
    attempts: int
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRequested:
    """Records that a read model could not take are to be tried again.

    Attributes:
        view: Read model whose dead letters are meant.
        position: Of the one record that is meant: topic/partition/offset.
        key: All records of this key.
        code: All records with this cause.
        all: All of the read model.
    """

    AVRO: ClassVar[str] = "retrace.deadletters.RetryRequested"

    view: str
    position: str | None = None
    key: str | None = None
    code: str | None = None
    all: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipRequested:
    """Records that a read model could not take are to be left out of it, for good.

    Attributes:
        view: Read model whose dead letters are meant.
        position: Of the one record that is meant: topic/partition/offset.
        key: All records of this key.
        code: All records with this cause.
        all: All of the read model.
        reason: Why it is right to leave them out.
    """

    AVRO: ClassVar[str] = "retrace.deadletters.SkipRequested"

    view: str
    position: str | None = None
    key: str | None = None
    code: str | None = None
    all: bool = False
    reason: str


DeadlettersEvent: TypeAlias = (
    RecordDeadLettered | RecordRecovered | RecordSkipped | RequestSettled | RetryFailed | RetryRequested | SkipRequested
)
