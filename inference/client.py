"""How trainer, deployer and sagas speak: by command over HTTP, as any client would."""

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

from infra.access.client import headers_of
from infra.settings import Settings
from schemas.codec import Record, as_fields
from schemas.errors import Problem, Unavailable


@dataclass(frozen=True)
class Accepted:
    """What became of a command.

    Attributes:
        command_id: its id in the log.
        position: where its first event stands, as `topic/partition/offset`; empty when the answer was not waited for.
        body: the whole answer.
    """

    command_id: str
    position: str
    body: dict[str, Any]


class CommandClient:
    """Sends commands and waits for what became of them; use it as an async context manager.

    Args:
        settings: where the command API is.
        actor: in whose name.
        timeout_s: how long an answer is waited for.
    """

    def __init__(self, settings: Settings, *, actor: str, timeout_s: float = 30) -> None:
        self._url = f"{settings.commands.url}/commands"
        self._headers = {**headers_of(settings, actor=actor), "Content-Type": "application/json"}
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(force_close=True)  # seldom used: a kept connection would be closed by then
        self._session = aiohttp.ClientSession(timeout=self._timeout, headers=self._headers, connector=connector)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(self, command: Record, *, key: str | None = None, correlation_id: str = "") -> Accepted:
        """Send a command and wait until it is decided.

        Args:
            command: instance of a generated command class.
            key: with it the command takes effect once, however often it is sent.
            correlation_id: of what led to it.

        Raises:
            Problem: the command was refused; its code, status and detail are those of the answer.
            Unavailable: the command API does not answer; whether the command was taken is not known.
        """
        assert self._session is not None, "use `async with`"
        headers = {name: value for name, value in _named(key, correlation_id) if value}
        body = orjson.dumps({"type": command.AVRO, "data": as_fields(command)})
        try:
            async with self._session.post(self._url, data=body, headers=headers) as response:
                answer = orjson.loads(await response.read() or b"{}")
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError) as fault:
            raise Unavailable(f"the command API at {self._url} does not answer: {fault!r}; is it running?") from fault
        if response.status >= 400:
            raise refusal(response.status, answer)
        return Accepted(str(answer.get("command_id", "")), response.headers.get("X-Position", ""), answer)


def refusal(status: int, answer: dict[str, Any]) -> Problem:
    """A problem document as the error that it was."""
    kind = Unavailable if status >= 500 else Problem
    detail = str(answer.get("detail", f"HTTP {status}"))
    problem = kind(detail, code=answer.get("code"), errors=answer.get("errors", ()))
    problem.status = status
    return problem


def _named(key: str | None, correlation_id: str) -> list[tuple[str, str | None]]:
    return [("Idempotency-Key", key), ("X-Correlation-ID", correlation_id or None)]
