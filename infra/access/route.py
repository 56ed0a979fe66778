"""Routes that say who may use them, and see to it.

The roles stand in the route's OpenAPI description (`x-roles`), which is what is enforced: what is documented and what
is done cannot differ. A route that says nothing cannot be made, so a forgotten one is found at start.
"""

from inspect import signature
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from infra.access.gate import Gate
from infra.access.identity import Identity
from infra.access.openapi import ROLES_MEMBER, SCHEME, SECURITY


def identity_of(request: Request) -> Identity:
    """Who is asking, on a guarded route."""
    identity: Identity = request.state.identity
    return identity


class GuardedRoute(APIRoute):
    """A route that lets in whom its description names; `request.state.identity` is who it is.

    Raises:
        ValueError: it does not say who may use it.
    """

    def __init__(self, path: str, *arguments: Any, **options: Any) -> None:
        super().__init__(path, *arguments, **options)
        extra = self.openapi_extra or {}
        if ROLES_MEMBER not in extra:
            raise ValueError(f"{path} says not who may use it: give openapi_extra=open_to(...)")
        self.roles = frozenset(extra[ROLES_MEMBER])
        is_plain = list(signature(self.endpoint).parameters) == ["request"]
        self.served: frozenset[str] = frozenset(self.methods or ()) if is_plain else frozenset()
        """Methods that `serve` answers; the framework answers the others."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, once it is known that it may be served."""
        if self.roles:
            gate: Gate = scope["app"].state.gate
            identity = await gate.identify(scope["headers"])
            identity.need(self.roles)
            scope.setdefault("state", {})["identity"] = identity
        await self.admitted(scope, receive, send)

    async def admitted(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request that may be served."""
        if scope["method"] in self.served:
            await self.serve(scope, receive, send)
        else:
            await super().handle(scope, receive, send)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What takes the request as it is and makes its own answer needs none of the framework's reading of parameters.

        It is a fifth of the work of a command.
        """
        response: Response = await self.endpoint(Request(scope, receive, send))
        await response(scope, receive, send)


def guarded(app: FastAPI, gate: Gate) -> FastAPI:
    """Let every route that is added to `app` from now on be guarded by `gate`."""
    app.state.gate = gate
    app.router.route_class = GuardedRoute
    describe = app.openapi

    def described() -> dict[str, Any]:
        document = describe()
        document.setdefault("components", {})["securitySchemes"] = {SCHEME: SECURITY}
        return document

    app.openapi = described  # type: ignore[method-assign]
    return app
