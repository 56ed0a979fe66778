"""An API key: created with a secret that only its hash is known of, given another one, revoked."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import assert_never

from commands.aggregate import Aggregate
from schemas.access import (
    AccessCommand,
    AccessEvent,
    ApiKeyCreated,
    ApiKeyRevoked,
    ApiKeyRotated,
    CreateApiKey,
    RevokeApiKey,
    RotateApiKey,
)
from schemas.envelope import Meta
from schemas.errors import Invalid, NotFound, Rejected
from schemas.roles import ROLES


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What later rules depend on.

    Attributes:
        secret_sha256: of the secret that is valid now; None while there is no such key.
        revoked: whether it is refused for good.
    """

    secret_sha256: str | None = None
    revoked: bool = False


def decide(state: ApiKey, command: AccessCommand, meta: Meta) -> Sequence[AccessEvent]:
    """What a command leads to.

    Raises:
        Invalid: a role that does not exist, or an end that has passed.
        NotFound: no such key.
        Rejected: the id is taken, or the key has been revoked.
    """
    match command:
        case CreateApiKey():
            return _create(state, command, meta)
        case RotateApiKey(key_id=key_id, secret_sha256=secret, grace_s=grace_s):
            _known(state, key_id)
            if state.revoked:
                raise Rejected(f"key '{key_id}' is revoked, for good: create another", code="key_revoked")
            if state.secret_sha256 == secret:
                return []
            until = meta.time + timedelta(seconds=grace_s)
            return [ApiKeyRotated(key_id=key_id, secret_sha256=secret, previous_until=until)]
        case RevokeApiKey(key_id=key_id, reason=reason):
            _known(state, key_id)
            return [] if state.revoked else [ApiKeyRevoked(key_id=key_id, reason=reason)]
        case _:
            assert_never(command)


def _create(state: ApiKey, command: CreateApiKey, meta: Meta) -> Sequence[AccessEvent]:
    if state.secret_sha256 is not None:
        raise Rejected(f"key '{command.key_id}' exists already: rotate it, or create another", code="key_exists")
    if not command.roles or set(command.roles) - set(ROLES):
        detail = f"a key has one or several of the roles {', '.join(ROLES)}"
        raise Invalid(detail, code="unknown_role", errors=[{"pointer": "/roles", "detail": detail}])
    if command.expires_at is not None and command.expires_at <= meta.time:
        raise Invalid("expires_at has passed: name a time to come", code="expired_already")
    return [
        ApiKeyCreated(
            key_id=command.key_id,
            secret_sha256=command.secret_sha256,
            name=command.name,
            roles=tuple(sorted(set(command.roles))),
            expires_at=command.expires_at,
        )
    ]


def _known(state: ApiKey, key_id: str) -> None:
    if state.secret_sha256 is None:
        raise NotFound(f"there is no key '{key_id}': GET /api-keys lists those there are", code="unknown_key")


def evolve(state: ApiKey, event: AccessEvent) -> ApiKey:
    """The state after an event."""
    match event:
        case ApiKeyCreated(secret_sha256=secret) | ApiKeyRotated(secret_sha256=secret):
            return replace(state, secret_sha256=secret)
        case ApiKeyRevoked():
            return replace(state, revoked=True)
        case _:
            assert_never(event)


AGGREGATE = Aggregate("API key", "access", ApiKey(), decide, evolve)
