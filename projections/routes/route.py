"""What every query has: parameters by name or a problem, HEAD beside GET, and answers that need not be sent twice."""

from hashlib import blake2b
from typing import Any

from fastapi import Response
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from infra.access.route import GuardedRoute
from projections.routes.reading import Plan, can_plan

CACHED = "private, no-cache"
"""What is answered is for who asked, and may be kept as long as it is asked whether it still holds."""


class QueryRoute(GuardedRoute):
    """A guarded route of the query API.

    A GET that takes parameters alone is read by a plan, answered with an ETag over its content, with 304 to who has it
    already, and answered to HEAD. Another is left to the framework; its query parameters are checked all the same.
    """

    def __init__(self, path: str, *arguments: Any, **options: Any) -> None:
        super().__init__(path, *arguments, **options)
        self._plan = Plan(self.dependant, f"{'/'.join(sorted(self.methods or ()))} {path}")
        self._is_get = self.methods == {"GET"}
        asks = self.dependant.request_param_name or self.dependant.response_param_name
        if self._is_get and not asks and can_plan(self.dependant):
            self.served = frozenset({"GET", "HEAD"})

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As the framework has it; HEAD is a GET without its body."""
        if self._is_get and scope.get("method") == "HEAD":
            return super().matches({**scope, "method": "GET"})
        return super().matches(scope)

    async def admitted(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request that may be served."""
        if scope["method"] not in self.served and scope["method"] in (self.methods or ()):
            self._plan.query_of(scope)
        await super().admitted(scope, receive, send)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request without the framework's reading of parameters."""
        response: Response = await self.endpoint(**self._plan.arguments(scope))
        await conditional(scope, response)(scope, receive, send)


def conditional(scope: Scope, response: Response) -> Response:
    """The answer with its ETag; 304 when the asker has it.

    The ETag is strong: a hash of the body as it is sent.

    Source: RFC 9110, sections 8.8.3 and 13.1.2.
    """
    if response.status_code != 200:
        return response
    etag = f'"{blake2b(response.body, digest_size=12).hexdigest()}"'
    extra = [(b"etag", etag.encode()), (b"cache-control", CACHED.encode())]
    held = next((value for name, value in scope["headers"] if name == b"if-none-match"), None)
    if held is None or not _names(held.decode("latin-1"), etag):
        response.raw_headers += extra
        return response
    known = Response(status_code=304)
    kept = [(name, value) for name, value in response.raw_headers if name not in (b"content-length", b"content-type")]
    known.raw_headers = kept + extra
    return known


def _names(header: str, etag: str) -> bool:
    """Whether an If-None-Match names this ETag; the comparison is the weak one."""
    return header.strip() == "*" or etag in (one.strip().removeprefix("W/") for one in header.split(","))
