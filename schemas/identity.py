"""Ids that follow from what a client chose, so that saying a thing twice gives it the same id."""

from uuid import UUID, uuid5

TENANTS = UUID("d0b2f7f4-6f0e-5b1c-9a43-2f6a4f3c1e58")


def derived_id(tenant: str, key: str) -> UUID:
    """The id of a command or fact that was sent with this Idempotency-Key: UUIDv5 of tenant and key."""
    return uuid5(uuid5(TENANTS, tenant), key)
