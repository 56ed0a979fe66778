"""Clients that go on through every fault, and remember what they were told."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

from console.api import Api
from infra.settings import Settings
from schemas.errors import Problem

ITEMS = 20
PAUSE_S = 0.02


@dataclass
class Told:
    """What the services acknowledged.

    Attributes:
        users: ids of people whose registration was acknowledged.
        interactions: event ids of interactions that were acknowledged.
        decisions: ids of recommendations that were answered.
        interrupted: requests that had to be sent again.
    """

    users: list[str] = field(default_factory=list)
    interactions: list[str] = field(default_factory=list)
    decisions: list[str] = field(default_factory=list)
    interrupted: int = 0


class Load:
    """Registers people, records what they do and asks for recommendations, until told to stop."""

    def __init__(self, settings: Settings) -> None:
        self.told = Told()
        self._settings = settings
        self._stopped = False

    def stop(self) -> None:
        """Let each client finish what it has begun."""
        self._stopped = True

    async def run(self) -> None:
        """All clients side by side."""
        async with Api(self._settings, actor="load") as api:
            for number in range(ITEMS):
                item = {"item_id": f"i{number}", "title": f"Item {number}", "categories": [f"c{number % 3}"]}
                await self._insist(partial(api.command, "POST", "/items", item, key=f"item-{number}"))
            await asyncio.gather(self._decisions(api), self._facts(api), self._recommendations(api))

    async def _decisions(self, api: Api) -> None:
        for number in count():
            if self._stopped:
                return
            user_id = f"u{number}"
            await self._insist(partial(api.command, "POST", "/users", {"user_id": user_id}, key=f"register-{user_id}"))
            self.told.users.append(user_id)
            await asyncio.sleep(PAUSE_S)

    async def _facts(self, api: Api) -> None:
        for number in count():
            if self._stopped:
                return
            body = {
                "user_id": f"u{number % 50}",
                "item_id": f"i{number % ITEMS}",
                "kind": "click",
                "occurred_at": "2026-01-01T00:00:00Z",
            }
            answer = await self._insist(partial(api.command, "POST", "/interactions", body, key=f"did-{number}"))
            self.told.interactions.append(answer.body["event_id"])
            await asyncio.sleep(PAUSE_S)

    async def _recommendations(self, api: Api) -> None:
        for number in count():
            if self._stopped:
                return
            answer = await self._insist(partial(api.recommend, f"u{number % 50}", model="movies"))
            self.told.decisions.append(answer.body["decision_id"])
            await asyncio.sleep(PAUSE_S)

    async def _insist(self, send: Callable[[], Awaitable[Any]]) -> Any:
        """Send until it is acknowledged; only what may be tried again is tried again."""
        while True:
            try:
                return await send()
            except Problem as problem:
                if problem.status < 500:
                    raise
                self.told.interrupted += 1
                await asyncio.sleep(0.2)
