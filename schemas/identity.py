"""Ids that follow from what a client chose, so that saying a thing twice gives it the same id."""

from hashlib import sha1
from uuid import UUID, uuid5

TENANTS = UUID("d0b2f7f4-6f0e-5b1c-9a43-2f6a4f3c1e58")
CLIENT_CHOSEN = 5
"""Version of the UUIDs that `derived_id` gives: only these can come again, those of our own making (UUIDv7) cannot."""
VERSION_AT = 14
"""Place of the version's digit in the text of a UUID."""
VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def derived_id(tenant: str, key: str) -> UUID:
    """The id of a command or fact that was sent with this Idempotency-Key: UUIDv5 of tenant and key."""
    return uuid5(uuid5(TENANTS, tenant), key)


def derived(namespace: UUID, name: str) -> str:
    """`str(uuid5(namespace, name))`, without the objects on the way: every event has one.

    Source: RFC 9562, section 5.5.
    """
    return as_uuid5(sha1(namespace.bytes + name.encode(), usedforsecurity=False).hexdigest())


def as_uuid5(digest: str) -> str:
    """A SHA-1 in hexadecimal as UUIDv5."""
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{VARIANT[digest[16]]}{digest[17:20]}-{digest[20:32]}"
