"""What stands around an event: CloudEvents 1.0 as Kafka headers (binary mode), and our own.

Source: CloudEvents Kafka protocol binding 1.0.2, section 3.2.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Self, TypeAlias
from uuid import UUID

from schemas.errors import Incompatible
from schemas.identity import derived
from schemas.position import Position
from schemas.topics import Topic

Headers: TypeAlias = Sequence[tuple[str, bytes]]

CONTENT_TYPE = b"application/avro"
EXPECTED_OFFSET = "expectedoffset"
DEFAULT_TENANT = "default"
"""Tenant of records that name none."""
ANY_VERSION = -1
"""Expected version of a command that insists on an aggregate, whatever its version."""
NAMES = (
    "ce_id",
    "ce_type",
    "ce_source",
    "ce_subject",
    "ce_time",
    "actor",
    "tenant",
    "correlationid",
    "causationid",
    "traceparent",
    "commandoffset",
    EXPECTED_OFFSET,
    "aggregateversion",
    "expectedversion",
    "fingerprint",
)
"""Headers of ours in the order in which they are written; one that has no value is left out."""
OURS = frozenset(NAMES)
CONSTANT = (("content-type", CONTENT_TYPE), ("ce_specversion", b"1.0"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """Who said it, when, and because of what.

    Attributes:
        id: key for deduplication. UUIDv7; UUIDv5 of tenant and key when the client chose one.
        type: full name of the Avro record.
        source: service that wrote it.
        subject: record key.
        time: when it was written, UTC; for a decided event, when its command was.
        actor: on whose behalf.
        tenant: whose data.
        correlation_id: shared by everything that one request led to.
        causation_id: id of the command or event that led to this one.
        traceparent: W3C trace context.
        command_offset: offset, in the command topic, of the command that this answers.
        expected_offset: where the writer of a decided event expects it to stand.
        version: version of the aggregate after this event; on an answer without effect, the version it found.
        expected_version: version of the aggregate that a command insists on; `ANY_VERSION` if any will do.
        fingerprint: hash of the body of a command, so that an id used again for another body is noticed.
    """

    id: UUID
    type: str
    source: str
    subject: str
    time: datetime
    actor: str = "anonymous"
    tenant: str = DEFAULT_TENANT
    correlation_id: str = ""
    causation_id: str = ""
    traceparent: str | None = None
    command_offset: int | None = None
    expected_offset: int | None = None
    version: int | None = None
    expected_version: int | None = None
    fingerprint: str | None = None

    def caused(
        self, index: int, *, type: str, source: str, expected_offset: int, command_offset: int, version: int
    ) -> list[tuple[str, bytes]]:
        """Headers of the `index`-th event decided on this command; its id is the same on every attempt."""
        return _headers(
            derived(self.id, f"{command_offset}/{index}"),
            type,
            source,
            self.subject,
            self.time.isoformat(),
            self.actor,
            self.tenant,
            self.correlation_id,
            str(self.id),
            self.traceparent,
            str(command_offset),
            str(expected_offset),
            str(version),
            None,
            self.fingerprint,
        )

    def agrees(self, version: int) -> bool:
        """Whether an aggregate at this version (0: nothing has happened to it) is what a command insists on."""
        wanted = self.expected_version
        return wanted is None or wanted == version or (wanted == ANY_VERSION and version > 0)

    def headers(self) -> list[tuple[str, bytes]]:
        """As Kafka headers."""
        return _headers(
            str(self.id),
            self.type,
            self.source,
            self.subject,
            self.time.isoformat(),
            self.actor,
            self.tenant,
            self.correlation_id,
            self.causation_id,
            self.traceparent,
            _digits(self.command_offset),
            _digits(self.expected_offset),
            _digits(self.version),
            _digits(self.expected_version),
            self.fingerprint,
        )

    @classmethod
    def of(cls, headers: Iterable[tuple[str, bytes]]) -> Self:
        """Read from Kafka headers.

        Raises:
            Incompatible: a header that must be there is missing or unreadable.
        """
        try:
            texts = _texts(headers)
            return cls(
                id=UUID(texts["ce_id"]),
                type=texts["ce_type"],
                source=texts["ce_source"],
                subject=texts["ce_subject"],
                time=_moment(texts["ce_time"]),
                actor=texts.get("actor", "anonymous"),
                tenant=texts.get("tenant", DEFAULT_TENANT),
                correlation_id=texts.get("correlationid", ""),
                causation_id=texts.get("causationid", ""),
                traceparent=texts.get("traceparent"),
                command_offset=_number(texts, "commandoffset"),
                expected_offset=_number(texts, EXPECTED_OFFSET),
                version=_number(texts, "aggregateversion"),
                expected_version=_number(texts, "expectedversion"),
                fingerprint=texts.get("fingerprint"),
            )
        except (AttributeError, KeyError, OverflowError, ValueError) as fault:
            raise Incompatible(
                f"the record's headers are not those of a Retrace event: {fault!r}", code="bad_headers"
            ) from fault

    def on_behalf(self, actor: str) -> "Meta":
        """The same with another actor."""
        return replace(self, actor=actor)


def _headers(*texts: str | None) -> list[tuple[str, bytes]]:
    return [*CONSTANT, *[(name, text.encode()) for name, text in zip(NAMES, texts, strict=True) if text]]


def _digits(number: int | None) -> str | None:
    return None if number is None else str(number)


def _texts(headers: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    """Headers as text; those of others, which need be no text, are left out."""
    headers = tuple(headers)
    try:
        return {name: value.decode() for name, value in headers}
    except (AttributeError, UnicodeDecodeError):
        return {name: value.decode() for name, value in headers if name in OURS}


def _moment(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"{text} names no time zone")
    return time.astimezone(UTC)


def _number(texts: Mapping[str, str], name: str) -> int | None:
    text = texts.get(name)
    return None if text is None else int(text)


def counts(topic: Topic, offset: int, headers: Iterable[tuple[str, bytes]]) -> bool:
    """The rule: on a decided topic an event counts only where its writer said it would stand.

    Every reader applies it to every record, for ever; that is what makes the append conditional (docs/explanation).
    """
    if not topic.is_decided:
        return True
    expected = next((value for name, value in headers if name == EXPECTED_OFFSET), None)
    return expected == str(offset).encode()


def tenant_of(headers: Iterable[tuple[str, bytes]]) -> str:
    """Whose data a record is, without reading the rest of it: the read side of an installation is one tenant's.

    A name that is no text, or null, counts as none, so that somebody finds the record among the dead letters.
    """
    for name, value in headers:
        if name == "tenant":
            with suppress(UnicodeDecodeError, AttributeError):
                return value.decode()
    return DEFAULT_TENANT


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event as it stands in the log.

    Attributes:
        event: instance of a generated class.
        meta: what stands around it.
        position: where it stands.
    """

    event: Any
    meta: Meta
    position: Position
