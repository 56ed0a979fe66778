"""How the console speaks to the services: over HTTP, as any client would."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

from infra.access.client import headers_of
from infra.settings import Settings
from schemas.errors import Problem, Unavailable

KEPT_S = 3.0
"""How long a connection that nobody uses is kept: less than the 5 s after which the services close theirs."""


@dataclass(frozen=True)
class Answer:
    """What a service answered.

    Attributes:
        body: the JSON document.
        headers: the answer's headers, names in lower case.
    """

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def position(self) -> str:
        """Where in the log the answer stands, to be given as `min-position` to a query."""
        return self.headers.get("x-position", "")


class Api:
    """The three HTTP services.

    Args:
        actor: in whose name, which only an admin's key may say; the key's own when it is None.

    Raises from every call:
        Problem: the service refused; the detail is the service's own.
        Unavailable: the service does not answer.
    """

    def __init__(self, settings: Settings, *, actor: str | None = None, concurrency: int = 64) -> None:
        self.settings = settings
        self._actor = actor
        self._concurrency = concurrency
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=self._concurrency, keepalive_timeout=KEPT_S)
        self._session = aiohttp.ClientSession(connector=connector, headers=headers_of(self.settings, actor=self._actor))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def command(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> Answer:
        """Send a command; with `key` it takes effect once, however often it is sent."""
        headers = {"idempotency-key": key} if key else {}
        return await self.call(self.settings.commands.url, method, path, json=body, headers=headers)

    async def query(self, path: str, params: Mapping[str, str] | None = None) -> Answer:
        """Ask a read model."""
        return await self.call(self.settings.queries.url, "GET", path, params=params)

    async def recommend(self, user_id: str, *, model: str, limit: int = 10) -> Answer:
        """Ask for recommendations."""
        params = {"model": model, "limit": str(limit)}
        return await self.call(self.settings.serving.url, "GET", f"/users/{user_id}/recommendations", params=params)

    async def call(self, base: str, method: str, path: str, **options: Any) -> Answer:
        """Any request to one of the services."""
        assert self._session is not None, "use `async with`"
        try:
            async with self._session.request(method, base + path, **options) as response:
                content = await response.read()
                headers = {name.lower(): value for name, value in response.headers.items()}
                body = orjson.loads(content) if "json" in headers.get("content-type", "") else content.decode()
                status = response.status
        except (aiohttp.ClientError, TimeoutError) as fault:
            raise Unavailable(f"{base} does not answer ({fault!r}): is it running? `retrace status` tells") from fault
        if status >= 400:
            raise _problem(status, body)
        return Answer(status, body, headers)


def _problem(status: int, body: Any) -> Problem:
    if not isinstance(body, dict):
        body = {"detail": str(body)[:500]}
    problem = Problem(str(body.get("detail", "")), code=body.get("code"), errors=body.get("errors", ()))
    problem.status = status
    return problem
