"""Ending a task for certain."""

import asyncio
from typing import Any

AGAIN_S = 1.0


async def ended(task: asyncio.Task[Any]) -> None:
    """Cancel a task until it has ended.

    Once is not enough: `asyncio.wait_for` before Python 3.12 swallows a cancellation that comes in the same turn of the
    loop as what it waits for (CPython issue 86296), and client libraries use it. A process that stood still for a while
    finds many answers at once, and meets this in many tasks together.

    Raises:
        BaseException: what the task failed with; its cancellation is none.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=AGAIN_S)
    if not task.cancelled() and (fault := task.exception()) is not None:
        raise fault
