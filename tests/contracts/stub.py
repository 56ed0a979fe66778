"""A provider made of a pact: answers exactly what the file says, and remembers what it was asked."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from .pact import Interaction, Pact


class Stub:
    """The provider's place, while a consumer's real code runs."""

    def __init__(self, pact: Pact) -> None:
        self._pact = pact
        self.asked: list[str] = []
        self.unexpected: list[str] = []
        self.url = ""
        self.port = 0

    @property
    def unasked(self) -> set[str]:
        """Interactions that the consumer says it needs and never used."""
        return {one.description for one in self._pact.interactions} - set(self.asked)

    async def answer(self, request: web.Request) -> web.Response:
        """Find the interaction that this is."""
        body = await request.read()
        for one in self._pact.interactions:
            if _is(one, request, body):
                self.asked.append(one.description)
                return web.json_response(
                    one.response["body"], status=one.response["status"], headers=one.response.get("headers")
                )
        self.unexpected.append(f"{request.method} {request.path_qs} {body.decode()}")
        return web.json_response({"detail": "not in the pact"}, status=501)


def _is(one: Interaction, request: web.Request, body: bytes) -> bool:
    asked = (request.method, request.path, dict(request.query))
    headers = all(request.headers.get(name) == value for name, value in one.headers.items())
    return asked == (one.method, one.path, one.query) and headers and _said(one.body) == _said(body)


def _said(body: bytes | None) -> object:
    try:
        return json.loads(body or b"null")
    except ValueError:
        return body


@asynccontextmanager
async def running(pact: Pact) -> AsyncIterator[Stub]:
    """The stub on a free port."""
    stub = Stub(pact)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", stub.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    stub.port = runner.addresses[0][1]
    stub.url = f"http://127.0.0.1:{stub.port}"
    try:
        yield stub
    finally:
        await runner.cleanup()
