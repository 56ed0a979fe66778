"""The keys that open."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from infra.access.key import ApiKey, new_key
from infra.access.keyring import KeyRing
from schemas.access import ApiKeyCreated, ApiKeyRevoked, ApiKeyRotated
from schemas.envelope import Meta, Recorded
from schemas.errors import Problem
from schemas.position import Position

ADMIN = new_key()
NOW = datetime.now(UTC)
SOON, PAST = NOW + timedelta(days=1), NOW - timedelta(seconds=1)


def recorded(event: Any, tenant: str = "default") -> Recorded:
    meta = Meta(id=uuid4(), type=event.AVRO, source="test", subject=event.key_id, time=NOW, tenant=tenant)
    return Recorded(event, meta, Position("access", 0, 0))


def ring(*events: Any, complete: bool = True, tenant: str = "default") -> KeyRing:
    made = KeyRing(ADMIN.sha256, "default")
    made.complete = complete
    for event in events:
        made.take(recorded(event, tenant))
    return made


def created(key: ApiKey, *, expires_at: datetime | None = None) -> ApiKeyCreated:
    return ApiKeyCreated(
        key_id=key.id, secret_sha256=key.sha256, name="shop", roles=("product", "baker"), expires_at=expires_at
    )


def refused(keys: KeyRing, key: ApiKey) -> str:
    with pytest.raises(Problem) as fault:
        keys.identity(key)
    assert key.text not in fault.value.detail
    return fault.value.code


def test_a_key_tells_who_it_is() -> None:
    """The actor and tenant of every event come from here; a role that nobody knows any more gives nothing."""
    key = new_key()
    identity = ring(created(key), tenant="b").identity(key)
    assert (identity.actor, identity.tenant, identity.roles) == ("shop", "b", frozenset({"product"}))
    assert (identity.how, identity.key_id) == ("key", key.id)


def test_the_installations_key_opens_before_there_are_others() -> None:
    """It makes the first key, and it opens while the log is away."""
    identity = ring(complete=False).identity(ADMIN)
    assert (identity.actor, identity.tenant, identity.is_admin) == ("admin", "default", True)


def test_the_secret_before_opens_for_its_grace() -> None:
    """A client can be given the new secret without an outage."""
    old, lapsed, key = (new_key("abcdefghijkl") for _ in range(3))
    rotated = ApiKeyRotated(key_id=key.id, secret_sha256=key.sha256, previous_until=SOON)
    assert ring(created(old), rotated).identity(old).actor == "shop"
    ended = ApiKeyRotated(key_id=key.id, secret_sha256=key.sha256, previous_until=PAST)
    assert refused(ring(created(lapsed), ended), lapsed) == "rotated_key"
    assert ring(created(lapsed), ended).identity(key).actor == "shop"


def test_revoked_is_revoked() -> None:
    """Neither the secret nor the one before it."""
    old, key = new_key("abcdefghijkl"), new_key("abcdefghijkl")
    rotated = ApiKeyRotated(key_id=key.id, secret_sha256=key.sha256, previous_until=SOON)
    keys = ring(created(old), rotated, ApiKeyRevoked(key_id=key.id))
    assert [refused(keys, one) for one in (old, key)] == ["revoked_key", "revoked_key"]


def test_expired_and_unknown_are_told_apart() -> None:
    """The remedies differ."""
    expired, known = new_key(), new_key("abcdefghijkl")
    keys = ring(created(expired, expires_at=PAST), created(known, expires_at=SOON))
    assert refused(keys, expired) == "expired_key"
    assert refused(keys, new_key("abcdefghijkl")) == "unknown_key"
    assert refused(keys, new_key()) == "unknown_key"
    assert keys.identity(known).actor == "shop"


def test_before_all_keys_are_read_nobody_is_called_unknown() -> None:
    """A client that is told 401 throws its key away; 503 lets it try again."""
    assert refused(ring(complete=False), new_key()) == "keys_unread"


def test_another_tenants_events_do_not_touch_a_key() -> None:
    """An admin of one tenant cannot revoke or take over what another has made."""
    key, other = new_key("abcdefghijkl"), new_key("abcdefghijkl")
    keys = ring(created(key))
    for event in (
        created(other),
        ApiKeyRotated(key_id=key.id, secret_sha256=other.sha256, previous_until=PAST),
        ApiKeyRevoked(key_id=key.id),
    ):
        keys.take(recorded(event, "b"))
    assert keys.identity(key).tenant == "default"
    assert refused(keys, other) == "unknown_key"
