"""Generated from schemas/avro/access; change those files and run `python -m schemas.generate`."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyCreated:
    """A key was made.

    Attributes:
        key_id: Public part of the key, which names it.
        secret_sha256: SHA-256 of the whole key, in hexadecimal.
        name: The actor in every event that the key leads to.
        roles: What the key may do: product, engineer, approver, auditor or admin.
        expires_at: From when on it is refused; null means never.
    """

    AVRO: ClassVar[str] = "retrace.access.ApiKeyCreated"

    key_id: str
    secret_sha256: str
    name: str
    roles: tuple[str, ...]
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyRevoked:
    """A key is refused from now on.

    Attributes:
        key_id: Public part of the key, which names it.
        reason: Why.
    """

    AVRO: ClassVar[str] = "retrace.access.ApiKeyRevoked"

    key_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyRotated:
    """A key has another secret.

    Attributes:
        key_id: Public part of the key, which names it.
        secret_sha256: SHA-256 of the whole key, in hexadecimal.
        previous_until: Until when the secret before is valid.
    """

    AVRO: ClassVar[str] = "retrace.access.ApiKeyRotated"

    key_id: str
    secret_sha256: str
    previous_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateApiKey:
    """Let somebody in by a new key.

    Attributes:
        key_id: Public part of the key, which names it.
        secret_sha256: SHA-256 of the whole key, in hexadecimal.
        name: The actor in every event that the key leads to.
        roles: What the key may do: product, engineer, approver, auditor or admin.
        expires_at: From when on it is refused; null means never.
    """

    AVRO: ClassVar[str] = "retrace.access.CreateApiKey"

    key_id: str
    secret_sha256: str
    name: str
    roles: tuple[str, ...]
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeApiKey:
    """Refuse a key from now on.

    Attributes:
        key_id: Public part of the key, which names it.
        reason: Why.
    """

    AVRO: ClassVar[str] = "retrace.access.RevokeApiKey"

    key_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateApiKey:
    """Give a key another secret.

    Attributes:
        key_id: Public part of the key, which names it.
        secret_sha256: SHA-256 of the whole key, in hexadecimal.
        grace_s: Seconds that the secret before stays valid.
    """

    AVRO: ClassVar[str] = "retrace.access.RotateApiKey"

    key_id: str
    secret_sha256: str
    grace_s: int = 86400


AccessEvent: TypeAlias = ApiKeyCreated | ApiKeyRevoked | ApiKeyRotated

AccessCommand: TypeAlias = CreateApiKey | RevokeApiKey | RotateApiKey
