"""Clients that change a few users at once, retry what they may retry, and note everything."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import aiohttp
import orjson

from console.faults.history import Operation, Told

ATTEMPTS = 6
PAUSE_S = 0.2
PATIENCE = aiohttp.ClientTimeout(total=15)
ASKED = 300
"""So many operations of unknown outcome are asked for in the end."""


class Request(NamedTuple):
    """What an operation sends."""

    method: str
    path: str
    body: dict[str, Any]


class Clients:
    """Every client of one campaign.

    Args:
        url: of the command API.
        headers: of every request.
        users: how many aggregates they share; the fewer, the more conflicts.

    Attributes:
        operations: all there were.
        accepted: how many were accepted.
        decided: how many were accepted, or refused by the rules.
    """

    def __init__(self, url: str, headers: dict[str, str], users: int, choose: random.Random) -> None:
        self._url = url
        self._headers = {**headers, "content-type": "application/json"}
        self._users = [f"user-{number}" for number in range(users)]
        self._choose = choose
        self._versions: dict[str, int] = {}
        self.operations: list[Operation] = []
        self.accepted = 0
        self.decided = 0

    async def run(self, clients: int, goes_on: Callable[[], bool]) -> None:
        """Let so many clients send one command after another."""
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=PATIENCE, headers=self._headers, connector=connector) as http:

            async def client() -> None:
                while goes_on():
                    await self._operate(http)

            async with asyncio.TaskGroup() as group:
                for _ in range(clients):
                    group.create_task(client())

    async def ask(self) -> None:
        """What the API says now of operations whose outcome nobody told; it need not know those of long ago."""
        unknown = [one for one in self.operations if one.outcome == "unknown" and one.command_id]
        async with aiohttp.ClientSession(timeout=PATIENCE, headers=self._headers) as http:
            await asyncio.gather(*(self._ask(http, operation) for operation in unknown[-ASKED:]))

    async def _operate(self, http: aiohttp.ClientSession) -> None:
        operation, request = self._next()
        self.operations.append(operation)
        for attempt in range(ATTEMPTS):
            operation.attempts = attempt + 1
            self._note(operation, *await self._send(http, operation, request))
            operation.ended = time.monotonic()
            if operation.outcome != "unknown" or operation.key is None:
                break
            await asyncio.sleep(PAUSE_S)
        if operation.outcome == "accepted":
            self.accepted += 1
            self._versions[operation.user] = max(self._versions.get(operation.user, 0), operation.version)
        self.decided += operation.status not in (0, 503, 504)
        if operation.status == 503:
            await asyncio.sleep(PAUSE_S)
        if operation.position:
            await self._look_again(http, operation, request)

    async def _look_again(self, http: aiohttp.ClientSession, operation: Operation, request: Request) -> None:
        """Sometimes: the same request once more, or its status. Nothing may have changed."""
        if operation.key is not None and self._choose.random() < 0.1:
            status, told = await self._send(http, operation, request)
            if "position" in told:
                operation.again.append(_said("accepted" if status < 300 else "refused", told))
        if operation.command_id and self._choose.random() < 0.02:
            await self._ask(http, operation)

    def _next(self) -> tuple[Operation, Request]:
        choose, mark = self._choose, f"m{len(self.operations)}"
        user = choose.choice(self._users)
        operation = Operation(mark, user, time.monotonic(), key=mark if choose.random() < 0.3 else None)
        known = self._versions.get(user)
        if known is None:
            return operation, Request("POST", "/users", {"user_id": user, "name": mark})
        if choose.random() < 0.5:
            stale = choose.random() < 0.2 and known > 1
            operation.expected = known - 1 if stale else known
        if choose.random() < 0.2:
            method = choose.choice(["PUT", "DELETE"])
            return operation, Request(method, f"/users/{user}/consents/training", {})
        return operation, Request("PUT", f"/users/{user}/preferences", {"favourite_categories": [mark]})

    async def _send(
        self, http: aiohttp.ClientSession, operation: Operation, request: Request
    ) -> tuple[int, dict[str, Any]]:
        """Status and document of the answer; 0 and nothing when there was none."""
        headers = {"x-correlation-id": operation.mark}
        if operation.key is not None:
            headers["idempotency-key"] = f'"{operation.key}"'
        if operation.expected is not None:
            headers["if-match"] = f'"{operation.expected}"'
        body, url = orjson.dumps(request.body), self._url + request.path
        try:
            async with http.request(request.method, url, data=body, headers=headers) as answer:
                return answer.status, orjson.loads(await answer.read() or b"{}")
        except (aiohttp.ClientError, TimeoutError, OSError, orjson.JSONDecodeError):
            return 0, {}

    async def _ask(self, http: aiohttp.ClientSession, operation: Operation) -> None:
        try:
            async with http.get(f"{self._url}/commands/{operation.command_id}") as answer:
                told = orjson.loads(await answer.read())
        except (aiohttp.ClientError, TimeoutError, OSError, orjson.JSONDecodeError):
            return
        if told.get("outcome") in ("accepted", "rejected"):
            operation.again.append(_said("accepted" if told["outcome"] == "accepted" else "refused", told))

    def _note(self, operation: Operation, status: int, told: dict[str, Any]) -> None:
        if not status:
            return  # nobody said what became of it
        operation.status, operation.code = status, str(told.get("code") or "")
        operation.command_id = told.get("command_id", operation.command_id)
        if status < 300:
            operation.outcome, operation.changed = "accepted", bool(told["events"])
            operation.version, operation.position = told["version"], told["position"]
        elif operation.code == "request_in_progress" or status == 504 or (status >= 500 and "command_id" in told):
            pass  # it may still take effect
        elif status == 503 and operation.attempts > 1:
            pass  # this attempt was refused; what became of those before it is not known
        else:
            operation.outcome = "refused"
            if "position" in told:
                operation.version, operation.position = told["version"], told["position"]
            if operation.version:
                self._versions[operation.user] = max(self._versions.get(operation.user, 0), operation.version)


def _said(outcome: str, told: dict[str, Any]) -> Told:
    return Told(outcome, told["version"], told["position"])
