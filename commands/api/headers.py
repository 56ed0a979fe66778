"""What the headers of a request say: under which key, on which version, and how long to wait."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from commands.api.identity import LONGEST_KEY
from schemas.envelope import ANY_VERSION
from schemas.errors import Malformed

KEY = rf'^("([ !#-\[\]-~]|\\["\\]){{1,{LONGEST_KEY}}}"|[!#-~]{{1,{LONGEST_KEY}}})$'
ESCAPED = re.compile(r'\\(["\\])')
ENTITY_TAG = re.compile(r'(?:W/)?"(\d{1,18})"|(\d{1,18})')
PREFERENCE = re.compile(r'\s*([a-z-]+)\s*(?:=\s*(?:"([^"]*)"|([^\s",;]*)))?\s*(?:;[^,]*)?')
LONGEST_WAIT_S = 10**6


class Preferences(NamedTuple):
    """What `Prefer` asks for.

    Attributes:
        respond_async: rather 202 than waiting for longer than `wait_s`.
        wait_s: how long to wait; None when nothing is said.
    """

    respond_async: bool
    wait_s: float | None

    def patience_s(self, longest_s: float) -> float:
        """How long to wait for a decision: with `respond-async` alone not at all, never longer than `longest_s`."""
        if self.wait_s is None:
            return 0 if self.respond_async else longest_s
        return min(self.wait_s, longest_s)


def preferences(values: Sequence[str]) -> Preferences:
    """Read `Prefer`; what is not understood is left out, and the first of two counts.

    Source: RFC 7240, sections 2, 4.1 and 4.3.
    """
    said: dict[str, str] = {}
    for part in ",".join(values).lower().split(","):
        if read := PREFERENCE.fullmatch(part):
            said.setdefault(read[1], read[2] or read[3] or "")
    wait = said.get("wait", "")
    wait_s = min(int(wait), LONGEST_WAIT_S) if wait.isascii() and wait.isdigit() and len(wait) < 10 else None
    return Preferences("respond-async" in said, wait_s)


def idempotency_key(text: str | None) -> str | None:
    """The key that a client chose: a structured string in quotes, or as it is without them.

    Source: draft-ietf-httpapi-idempotency-key-header, section 2.1; RFC 9651, section 3.3.3.

    Raises:
        Malformed: it is empty, too long or not printable, or its quotes do not match.
    """
    if text is None:
        return None
    key = text.strip()
    if not re.fullmatch(KEY, key, re.ASCII):
        raise Malformed(
            f"an Idempotency-Key is 1 to {LONGEST_KEY} printable ASCII characters in quotes, "
            'such as "8e03978e-40d5-43dd-bc93"',
            code="bad_idempotency_key",
        )
    return ESCAPED.sub(r"\1", key[1:-1]) if key.startswith('"') else key


def expected_version(if_match: str | None, if_none_match: str | None) -> int | None:
    """The version that a command insists on: 0 when there may be none, `ANY_VERSION` when there must be one.

    Source: RFC 9110, sections 13.1.1 and 13.1.2.

    Raises:
        Malformed: one of them is no entity tag of ours, or both are there.
    """
    if if_match is not None and if_none_match is not None:
        raise Malformed("send If-Match or If-None-Match, not both", code="bad_precondition")
    if if_none_match is not None:
        if if_none_match.strip() != "*":
            raise Malformed("If-None-Match takes * only: there may be nothing yet", code="bad_precondition")
        return 0
    if if_match is None:
        return None
    if if_match.strip() == "*":
        return ANY_VERSION
    tag = ENTITY_TAG.fullmatch(if_match.strip())
    if tag is None:
        raise Malformed(
            f"If-Match takes the ETag of an earlier answer, such as \"3\", or *; '{if_match[:50]}' is neither",
            code="bad_precondition",
        )
    return int(tag[1] or tag[2])
