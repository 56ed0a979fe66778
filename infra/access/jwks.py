"""The public keys of an issuer (JWKS), fetched when they are needed and kept.

However many tokens with unknown keys come, the issuer is asked once per `refresh_s`; while it is away, the keys that
are known go on opening.
"""

import asyncio
import time
from contextlib import suppress

import aiohttp
import jwt
import structlog
from prometheus_client import Counter

from infra.health import Health
from infra.settings import JwtSettings
from schemas.errors import Unavailable, Unknown

COMPONENT = "jwks"
TIMEOUT_S = 5.0
LARGEST_BYTES = 256 * 1024

FETCHES = Counter("retrace_jwks_fetches_total", "Times that the issuer's keys were fetched.", ["outcome"])

log = structlog.get_logger()


class Jwks:
    """The keys by their id (`kid`).

    Args:
        health: told how the last fetch went. A service without the issuer stays ready: API keys open, and known keys.

    Attributes:
        fault: why the last fetch failed; empty when it did not.
    """

    def __init__(self, settings: JwtSettings, health: Health) -> None:
        self.fault = ""
        self._settings = settings
        self._health = health
        self._keys: dict[str, jwt.PyJWK] = {}
        self._tried_at = self._fetched_at = float("-inf")
        self._lock = asyncio.Lock()
        self._renewal: asyncio.Task[None] | None = None

    async def key(self, kid: str) -> jwt.PyJWK:
        """The key with this id.

        Raises:
            Unknown: the issuer has none.
            Unavailable: the issuer has not answered yet.
        """
        if kid not in self._keys:
            await self._fetch()
        elif time.monotonic() - self._fetched_at > self._settings.cache_s:
            self._renew()
        key = self._keys.get(kid)
        if key is not None:
            return key
        if self.fault:
            raise Unavailable(
                f"the issuer's keys cannot be had ({self.fault}): try again in a moment", code="jwks_away"
            )
        raise Unknown("the issuer has no such key as this token names: sign in again", code="unknown_token_key")

    def _renew(self) -> None:
        """Fetch beside the requests; nobody waits for it."""
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._fetch())

    async def close(self) -> None:
        """End what is under way."""
        if self._renewal is not None:
            self._renewal.cancel()
            with suppress(asyncio.CancelledError):
                await self._renewal

    async def _fetch(self) -> None:
        """Fetch, unless that was tried a moment ago; of many callers at once one does it and the others wait."""
        async with self._lock:
            if time.monotonic() - self._tried_at < self._settings.refresh_s:
                return
            self._tried_at = time.monotonic()
            try:
                self._keys = self._usable(await self._document())
            except (aiohttp.ClientError, TimeoutError, ValueError, jwt.PyJWTError) as fault:
                self._went(f"{self._settings.jwks_url}: {fault!r}")
            else:
                self._fetched_at = time.monotonic()
                self._went("")

    def _went(self, fault: str) -> None:
        """Say how a fetch went."""
        self.fault = fault
        FETCHES.labels("failed" if fault else "fetched").inc()
        self._health.ok(COMPONENT, f"known keys stay valid, new ones cannot be had: {fault}" if fault else "")
        if fault:
            log.warning("JWKS cannot be had", cause=fault)

    async def _document(self) -> bytes:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with (
            aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as http,
            http.get(self._settings.jwks_url, allow_redirects=False) as answer,
        ):
            body = await answer.content.read(LARGEST_BYTES + 1)
            while len(body) <= LARGEST_BYTES and (more := await answer.content.read(LARGEST_BYTES + 1 - len(body))):
                body += more
        if len(body) > LARGEST_BYTES:
            raise ValueError(f"more than {LARGEST_BYTES} bytes")
        return body

    def _usable(self, document: bytes) -> dict[str, jwt.PyJWK]:
        """Those that sign, by the pinned algorithm."""
        keys = jwt.PyJWKSet.from_json(document.decode()).keys
        return {
            key.key_id: key
            for key in keys
            if key.key_id and key.public_key_use in (None, "sig") and key.algorithm_name == self._settings.algorithm
        }
