"""Making people and items known to the bench's own services, over HTTP."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

from console.api import Answer, Api

AT_ONCE = 32


async def add_items(api: Api, item_ids: Sequence[str]) -> None:
    """Add items to the catalogue; a second time does no harm.

    Raises:
        Problem: one was refused.
    """
    bodies = [{"item_id": one, "title": f"Item {one}", "categories": ["bench"]} for one in item_ids]
    await bounded(api.command("POST", "/items", body, key=f"bench:item:{body['item_id']}") for body in bodies)


async def register(api: Api, user_ids: Sequence[str]) -> None:
    """Make people known; a second time does no harm.

    Raises:
        Problem: one was refused.
    """
    await bounded(api.command("POST", "/users", {"user_id": one}, key=f"bench:user:{one}") for one in user_ids)


async def bounded(sends: Iterable[Coroutine[Any, Any, Answer]]) -> None:
    """All of these, few at a time."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(send: Coroutine[Any, Any, Answer]) -> None:
        async with places:
            await send

    async with asyncio.TaskGroup() as group:
        for send in sends:
            group.create_task(one(send))
