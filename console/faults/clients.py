"""Clients that change a few users at once, retry what they may retry, and note everything."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import orjson

from console.faults.history import Operation

ATTEMPTS = 6
PAUSE_S = 0.2
PATIENCE = aiohttp.ClientTimeout(total=15)


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

    async def _operate(self, http: aiohttp.ClientSession) -> None:
        operation, method, path, body = self._next()
        self.operations.append(operation)
        for attempt in range(ATTEMPTS):
            operation.attempts = attempt + 1
            await self._send(http, operation, method, path, body)
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

    def _next(self) -> tuple[Operation, str, str, dict[str, Any]]:
        choose, mark = self._choose, f"m{len(self.operations)}"
        user = choose.choice(self._users)
        operation = Operation(mark, user, time.monotonic(), key=mark if choose.random() < 0.3 else None)
        known = self._versions.get(user)
        if known is None:
            return operation, "POST", "/users", {"user_id": user, "name": mark}
        if choose.random() < 0.5:
            stale = choose.random() < 0.2 and known > 1
            operation.expected = known - 1 if stale else known
        return operation, "PUT", f"/users/{user}/preferences", {"favourite_categories": [mark]}

    async def _send(
        self, http: aiohttp.ClientSession, operation: Operation, method: str, path: str, body: dict[str, Any]
    ) -> None:
        headers = {} if operation.key is None else {"idempotency-key": f'"{operation.key}"'}
        if operation.expected is not None:
            headers["if-match"] = f'"{operation.expected}"'
        try:
            async with http.request(method, self._url + path, data=orjson.dumps(body), headers=headers) as answer:
                told = orjson.loads(await answer.read() or b"{}")
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError, orjson.JSONDecodeError):
            return  # nobody said what became of it
        self._note(operation, status, told)

    def _note(self, operation: Operation, status: int, told: dict[str, Any]) -> None:
        operation.status, operation.code = status, str(told.get("code") or "")
        if status < 300:
            operation.outcome, operation.version, operation.position = "accepted", told["version"], told["position"]
        elif operation.code == "request_in_progress" or status == 504 or (status >= 500 and "command_id" in told):
            pass  # it may still take effect
        elif status == 503 and operation.attempts > 1:
            pass  # this attempt was refused; what became of those before it is not known
        else:
            operation.outcome = "refused"
            if isinstance(version := told.get("version"), int) and version:
                self._versions[operation.user] = max(self._versions.get(operation.user, 0), version)
