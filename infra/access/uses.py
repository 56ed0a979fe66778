"""When each key was last used: noted in memory, written as a fact now and then, never while a request waits."""

import time
from datetime import UTC, datetime

from uuid6 import uuid7

from infra.access.identity import Identity
from infra.kafka.facts import FactWriter
from schemas.envelope import Meta
from schemas.usage import ApiKeyUsed


class Uses:
    """The keys that were used since it was last said.

    Args:
        every_s: at most so often is the use of one key put on record.
        service: where they are used.
    """

    def __init__(self, every_s: float, service: str) -> None:
        self._every_s = every_s
        self._service = service
        self._said: dict[str, float] = {}
        self._due: dict[str, tuple[Identity, datetime]] = {}

    def note(self, identity: Identity) -> None:
        """A key was used."""
        key_id = identity.key_id
        if key_id is None or key_id in self._due:
            return
        now = time.monotonic()
        if now - self._said.get(key_id, -self._every_s) >= self._every_s:
            self._due[key_id] = (identity, datetime.now(UTC))

    def due(self) -> list[tuple[ApiKeyUsed, Meta]]:
        """What has not been said yet, as facts."""
        return [self._fact(key_id, identity, at) for key_id, (identity, at) in self._due.items()]

    async def say(self, writer: FactWriter) -> None:
        """Write what is due.

        Raises:
            Unavailable: the brokers did not confirm; it stays due.
        """
        facts = self.due()
        if facts:
            await writer.append_all(facts)
        for fact, _ in facts:
            self._due.pop(fact.key_id, None)
            self._said[fact.key_id] = time.monotonic()

    def _fact(self, key_id: str, identity: Identity, at: datetime) -> tuple[ApiKeyUsed, Meta]:
        fact = ApiKeyUsed(key_id=key_id, used_at=at, service=self._service)
        source = f"retrace/{self._service}"
        actor, tenant = identity.actor, identity.tenant
        meta = Meta(id=uuid7(), type=fact.AVRO, source=source, subject=key_id, time=at, actor=actor, tenant=tenant)
        return fact, meta
