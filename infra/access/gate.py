"""Who is asking, found out for every request of an HTTP service."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from infra.access.follow import follow
from infra.access.identity import Identity
from infra.access.key import PREFIX, parse
from infra.access.keyring import KeyRing
from infra.access.token import LONGEST_NAME, Tokens
from infra.access.uses import Uses
from infra.ending import ended
from infra.health import Health
from infra.settings import Settings
from schemas.errors import Forbidden, Malformed, Unknown

BEARER = b"bearer "
HEADERS = frozenset({b"authorization", b"x-actor", b"x-tenant"})

Headers = Iterable[tuple[bytes, bytes]]


class Gate:
    """Tells identities.

    Args:
        any_tenant: whether every tenant is served, as the write side does; else the installation's alone.

    Attributes:
        ring: the API keys.
    """

    def __init__(self, settings: Settings, health: Health, *, any_tenant: bool = False) -> None:
        self._settings = settings
        self._health = health
        self._any_tenant = any_tenant
        self.ring = KeyRing(settings.access.admin_hash, settings.tenant)
        self._uses = Uses(settings.access.last_use_s, health.service)
        self._tokens = Tokens(settings.access.jwt, settings.tenant, health) if settings.access.jwt is not None else None

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Follow what is said of keys, while the service runs."""
        following = asyncio.create_task(follow(self._settings, self.ring, self._uses, self._health))
        try:
            yield
        finally:
            await ended(following)
            if self._tokens is not None:
                await self._tokens.jwks.close()

    async def identify(self, headers: Headers) -> Identity:
        """Who is asking.

        Args:
            headers: of the request, names in lower case as ASGI has them.

        Raises:
            Unknown: no key or token is there, or it does not open.
            Forbidden: it speaks for somebody it may not speak for, or is of another tenant.
            Malformed: a header is no name.
            Unavailable: whether it opens cannot be told now.
        """
        said = {name: value for name, value in headers if name in HEADERS}
        identity = await self._bearer(said.get(b"authorization"))
        if len(said) > 1:
            identity = identity.on_behalf(
                _name("X-Actor", said.get(b"x-actor")), _name("X-Tenant", said.get(b"x-tenant"))
            )
        if not self._any_tenant and identity.tenant != self._settings.tenant:
            raise Forbidden(
                f"the read models here are those of tenant '{self._settings.tenant}', and your key is of "
                f"'{identity.tenant}': ask the installation that serves your tenant",
                code="foreign_tenant",
            )
        return identity

    async def _bearer(self, authorization: bytes | None) -> Identity:
        if authorization is None:
            raise Unknown("no key was sent: send Authorization: Bearer KEY", code="key_missing")
        if authorization[:7].lower() != BEARER:
            raise Unknown("send the key as Authorization: Bearer KEY", code="malformed_key")
        text = authorization[7:].strip().decode("latin-1")
        if text.startswith(f"{PREFIX}_") or self._tokens is None:
            identity = self.ring.identity(parse(text))
            self._uses.note(identity)
            return identity
        return await self._tokens.identity(text)


def _name(header: str, value: bytes | None) -> str | None:
    """What a header names.

    Raises:
        Malformed: it names nobody.
    """
    if value is None:
        return None
    text = value.decode("latin-1")
    if not 0 < len(text) <= LONGEST_NAME or not text.isprintable():
        raise Malformed(f"{header} has 1 to {LONGEST_NAME} printable characters", code="bad_actor")
    return text
