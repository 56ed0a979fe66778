"""What becomes of an API key, by example."""

from datetime import timedelta

import pytest

from commands.aggregates.api_key import AGGREGATE
from commands.testing import AT, Spec
from schemas.access import (
    ApiKeyCreated,
    ApiKeyRevoked,
    ApiKeyRotated,
    CreateApiKey,
    RevokeApiKey,
    RotateApiKey,
)

key = Spec(AGGREGATE)
ID, A, B = "2Xk9mPq4Lw7a", "a" * 64, "b" * 64
MADE = ApiKeyCreated(key_id=ID, secret_sha256=A, name="shop", roles=("product",))
ROTATED = ApiKeyRotated(key_id=ID, secret_sha256=B, previous_until=AT + timedelta(seconds=60))


def create(*roles: str, expires_s: float | None = None) -> CreateApiKey:
    expires_at = None if expires_s is None else AT + timedelta(seconds=expires_s)
    return CreateApiKey(key_id=ID, secret_sha256=A, name="shop", roles=roles, expires_at=expires_at)


def test_a_key_is_made_once() -> None:
    """An id names one key for ever."""
    key.given().when(create("product")).then(MADE)
    key.given(MADE).when(create("product")).refused("key_exists")


def test_roles_are_a_set() -> None:
    """The same roles in another order are the same key."""
    (made,) = key.given().when(create("product", "auditor", "product")).events
    assert made.roles == ("auditor", "product")


@pytest.mark.parametrize("roles", [(), ("baker",), ("product", "root")])
def test_a_key_without_a_known_role_is_not_made(roles: tuple[str, ...]) -> None:
    """It would open nothing, and nobody would know why."""
    key.given().when(create(*roles)).refused("unknown_role", 422)


def test_a_key_does_not_begin_expired() -> None:
    """A slip in the year would otherwise be noticed by who holds the key."""
    key.given().when(create("product", expires_s=0)).refused("expired_already", 422)
    assert key.given().when(create("product", expires_s=1)).events[0].expires_at == AT + timedelta(seconds=1)


def test_the_grace_counts_from_the_command() -> None:
    """Every reader of the log must come to the same moment."""
    rotate = RotateApiKey(key_id=ID, secret_sha256=B, grace_s=60)
    key.given(MADE).when(rotate).then(ROTATED)
    key.given(MADE, ROTATED).when(rotate).nothing()


def test_revoked_is_the_end() -> None:
    """A key that was leaked must not come back by a rotation."""
    revoked = ApiKeyRevoked(key_id=ID, reason="leaked")
    key.given(MADE).when(RevokeApiKey(key_id=ID, reason="leaked")).then(revoked)
    key.given(MADE, revoked).when(RevokeApiKey(key_id=ID)).nothing()
    key.given(MADE, revoked).when(RotateApiKey(key_id=ID, secret_sha256=B)).refused("key_revoked")


def test_a_key_that_was_never_made_is_unknown() -> None:
    """A mistyped id must not look like success."""
    key.given().when(RevokeApiKey(key_id=ID)).refused("unknown_key", 404)
    key.given().when(RotateApiKey(key_id=ID, secret_sha256=B)).refused("unknown_key", 404)
