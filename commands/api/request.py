"""What an HTTP request says beside its fields: who, on which version, under which key, and how long to wait."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from fastapi import Request

from commands.api.headers import Preferences, expected_version, idempotency_key, preferences
from commands.api.identity import id_for
from infra.access.route import identity_of
from infra.settings import Settings
from schemas.envelope import Meta
from schemas.errors import Malformed, TooLarge, Unsupported

TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
SOURCE = "retrace/commands"


@dataclass(frozen=True)
class Intent:
    """How a command is meant.

    Attributes:
        command_id: UUIDv5 of the Idempotency-Key, or new.
        expected_version: from If-Match or If-None-Match.
        actor: who is asking, or on whose behalf.
        tenant: theirs.
        prefer: from Prefer.
        wait_s: how long to wait for the decision; 0 answers at once.
    """

    command_id: UUID
    actor: str
    tenant: str
    correlation_id: str
    traceparent: str | None
    expected_version: int | None
    prefer: Preferences
    wait_s: float

    def meta(self, type: str, subject: str, fingerprint: str | None) -> Meta:
        """The meta of the command or fact."""
        return Meta(
            id=self.command_id,
            type=type,
            source=SOURCE,
            subject=subject,
            time=datetime.now(UTC),
            actor=self.actor,
            tenant=self.tenant,
            correlation_id=self.correlation_id,
            traceparent=self.traceparent,
            expected_version=self.expected_version,
            fingerprint=fingerprint,
        )


def intent_of(request: Request, settings: Settings) -> Intent:
    """Read the headers.

    Raises:
        Malformed: one of them makes no sense.
    """
    headers, identity = request.headers, identity_of(request)
    prefer = preferences(headers.getlist("prefer"))
    traceparent = headers.get("traceparent", "")
    return Intent(
        command_id=id_for(identity.tenant, idempotency_key(headers.get("idempotency-key"))),
        actor=identity.actor,
        tenant=identity.tenant,
        correlation_id=getattr(request.state, "correlation_id", ""),
        traceparent=traceparent if TRACEPARENT.fullmatch(traceparent) else None,
        expected_version=expected_version(headers.get("if-match"), headers.get("if-none-match")),
        prefer=prefer,
        wait_s=prefer.patience_s(settings.answer_timeout_s),
    )


async def json_body(request: Request, limit_bytes: int) -> Any:
    """The body as JSON; an empty one is an empty object.

    Raises:
        TooLarge: it is over the limit.
        Unsupported: it says that it is something else.
        Malformed: it is no JSON.
    """
    body = await _bytes(request, limit_bytes)
    if not body.strip():
        return {}
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise Unsupported(f"this takes JSON, not {kind[:100]}: send Content-Type: application/json")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as fault:
        raise Malformed(f"the body is no JSON: {fault}") from None


async def _bytes(request: Request, limit_bytes: int) -> bytes:
    too_large = TooLarge(f"the body is over {limit_bytes} bytes: send less at once, or use the bulk operation")
    if int(request.headers.get("content-length") or 0) > limit_bytes:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit_bytes:
            raise too_large
    return bytes(body)
