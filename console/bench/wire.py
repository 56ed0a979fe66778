"""A client for load: HTTP/1.1 by hand, on connections that stay open.

It runs on the machine that it measures. A general client takes as much CPU for a request as the service does, and half
of what is measured would be the client.
"""

import asyncio
import re
from collections.abc import Mapping
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import orjson

from infra.access.client import headers_of
from infra.settings import Settings
from schemas.errors import Problem, Unavailable

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
HEAD_END = b"\r\n\r\n"


class Wire:
    """Sends JSON to one service, over as many connections as there are requests at a time.

    Args:
        url: of the service.
        headers: of every request.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname or "localhost", address.port or 80
        every = {"Host": address.netloc, "Content-Type": "application/json", **headers}
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in every.items())
        self._idle: list[Connection] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self._idle:
            connection.close()

    async def send(self, method: str, path: str, body: bytes) -> bytes:
        """The body of the answer.

        Raises:
            Problem: the service refused.
            Unavailable: it cannot be reached, or went away.
        """
        head = f"{method} {path} HTTP/1.1\r\n{self._headers}Content-Length: {len(body)}\r\n\r\n"
        connection = await self._connection()
        try:
            status, content = await connection.exchange(head.encode() + body)
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        if status >= 400:
            raise _problem(status, content)
        return content

    async def _connection(self) -> "Connection":
        while self._idle:
            if (connection := self._idle.pop()).is_open:
                return connection
        try:
            _, connection = await asyncio.get_running_loop().create_connection(Connection, self._host, self._port)
        except OSError as fault:
            raise Unavailable(f"{self._host}:{self._port} does not answer: {fault!r}") from fault
        return connection


def wire_to_commands(settings: Settings) -> Wire:
    """To the command API, with the key of the settings."""
    return Wire(settings.commands.url, headers_of(settings))


class Connection(asyncio.Protocol):
    """One request at a time, answered with a body of known length, as our services do.

    Attributes:
        is_open: whether it can be used.
    """

    def __init__(self) -> None:
        self.is_open = False
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        assert isinstance(transport, asyncio.Transport)
        self._transport, self.is_open = transport, True

    def exchange(self, request: bytes) -> "asyncio.Future[tuple[int, bytes]]":
        """Status and body of the answer to come."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        """A piece of the answer."""
        received = self._received
        received += data
        end = received.find(HEAD_END)
        length = LENGTH.search(received, 0, end + 2) if end >= 0 else None
        if end >= 0 and length is None:
            self.close()
        if length is None or len(received) < (whole := end + len(HEAD_END) + int(length[1])):
            return
        answer = int(received[9:12]), bytes(received[end + len(HEAD_END) : whole])
        received.clear()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)

    def connection_lost(self, fault: Exception | None) -> None:
        """It is gone, and an answer will not come."""
        self.is_open = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Unavailable(f"the service closed the connection: {fault!r}"))

    def close(self) -> None:
        """Let go of it."""
        if self._transport is not None:
            self._transport.close()


def _problem(status: int, content: bytes) -> Problem:
    try:
        body = orjson.loads(content)
        problem = Problem(str(body["detail"]), code=body["code"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        problem = Problem(content.decode(errors="replace")[:500])
    problem.status = status
    return problem
