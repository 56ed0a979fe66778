"""The keys that open, folded from the topic `access`; kept in memory by every HTTP service."""

import hmac
from dataclasses import dataclass
from datetime import UTC, datetime

from infra.access.identity import Identity
from infra.access.key import ApiKey
from schemas.access import ApiKeyCreated, ApiKeyRevoked, ApiKeyRotated
from schemas.envelope import Recorded
from schemas.errors import Unavailable, Unknown
from schemas.roles import ADMIN, known

REMEDY = "ask an admin for another (retrace keys create)"


@dataclass(slots=True)
class Entry:
    """A key as the log tells of it.

    Attributes:
        before: hash of the secret before the last, and until when it is valid.
    """

    identity: Identity
    sha256: str
    expires_at: datetime | None
    before: tuple[str, datetime] | None = None
    revoked: bool = False


class KeyRing:
    """Knows whom a key belongs to.

    Args:
        admin_sha256: hash of the installation's own key, which opens whatever the log says; None when there is none.
        tenant: the installation's.

    Attributes:
        complete: whether every key on record has been read.
    """

    def __init__(self, admin_sha256: str | None, tenant: str) -> None:
        self.complete = False
        self._admin_sha256 = admin_sha256
        self._admin = Identity(ADMIN, tenant, frozenset({ADMIN}), "installation")
        self._entries: dict[str, Entry] = {}

    def take(self, recorded: Recorded) -> None:
        """Fold the next event."""
        match recorded.event:
            case ApiKeyCreated() as made:
                identity = Identity(made.name, recorded.meta.tenant, known(made.roles), "key", made.key_id)
                self._entries.setdefault(made.key_id, Entry(identity, made.secret_sha256, made.expires_at))
            case ApiKeyRotated(key_id=key_id, secret_sha256=sha256, previous_until=until):
                entry = self._own(key_id, recorded)
                if entry is not None and entry.sha256 != sha256:
                    entry.before, entry.sha256 = (entry.sha256, until), sha256
            case ApiKeyRevoked(key_id=key_id):
                if (entry := self._own(key_id, recorded)) is not None:
                    entry.revoked = True

    def identity(self, key: ApiKey) -> Identity:
        """Whom a key belongs to.

        Raises:
            Unknown: nobody, or it is not valid any more.
            Unavailable: the keys have not been read yet.
        """
        sha256 = key.sha256
        entry = self._entries.get(key.id)
        if entry is None:
            return self._installation(key, sha256)
        if not hmac.compare_digest(entry.sha256, sha256):
            self._by_the_secret_before(entry, key, sha256)
        if entry.revoked:
            raise Unknown(f"key {key.id} was revoked: {REMEDY}", code="revoked_key")
        if entry.expires_at is not None and entry.expires_at <= datetime.now(UTC):
            raise Unknown(
                f"key {key.id} expired at {entry.expires_at:%Y-%m-%d %H:%M} UTC: {REMEDY}", code="expired_key"
            )
        return entry.identity

    def _own(self, key_id: str, recorded: Recorded) -> Entry | None:
        entry = self._entries.get(key_id)
        return entry if entry is not None and entry.identity.tenant == recorded.meta.tenant else None

    def _installation(self, key: ApiKey, sha256: str) -> Identity:
        if self._admin_sha256 is not None and hmac.compare_digest(self._admin_sha256, sha256):
            return self._admin
        if not self.complete:
            raise Unavailable("the API keys on record are still being read: try again in a moment", code="keys_unread")
        raise _unknown(key)

    def _by_the_secret_before(self, entry: Entry, key: ApiKey, sha256: str) -> None:
        if entry.before is None or not hmac.compare_digest(entry.before[0], sha256):
            raise _unknown(key)
        if entry.before[1] <= datetime.now(UTC):
            raise Unknown(
                f"key {key.id} was rotated; this secret was valid until {entry.before[1]:%Y-%m-%d %H:%M} UTC: use the "
                " new one, which was shown when it was rotated",
                code="rotated_key",
            )


def _unknown(key: ApiKey) -> Unknown:
    return Unknown(f"there is no key {key.id} with this secret here: {REMEDY}", code="unknown_key")
