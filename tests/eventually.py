"""Waiting for what happens some time later."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(what: Callable[[], Awaitable[T | None]], within_s: float = 30, every_s: float = 0.02) -> T:
    """The first true thing that `what` answers."""
    async with asyncio.timeout(within_s):
        while not (found := await what()):
            await asyncio.sleep(every_s)
    return found
