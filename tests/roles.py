"""Our services in the process of a test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from infra.ending import ended
from infra.health import Health
from infra.settings import Settings

Work = Callable[[Settings, Health], Awaitable[None]]


@asynccontextmanager
async def running(work: Work, settings: Settings, name: str) -> AsyncIterator[Health]:
    """One of them, with its health, until the end of the block."""
    health = Health(name)
    task = asyncio.ensure_future(work(settings, health))
    try:
        yield health
    finally:
        await ended(task)
