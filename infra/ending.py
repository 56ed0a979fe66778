"""Ending tasks for certain."""

import asyncio
from typing import Any

AGAIN_S = 1.0


async def ended(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks until all have ended.

    Once is not enough: `asyncio.wait_for` before Python 3.12 swallows a cancellation that comes in the same turn of the
    loop as what it waits for (CPython issue 86296), and client libraries use it. A process that stood still for a while
    finds many answers at once, and meets this in many tasks together.

    Raises:
        BaseException: what the first that has failed has failed with; a cancellation is no failure.
    """
    while running := {task for task in tasks if not task.done()}:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=AGAIN_S)
    faults = [fault for task in tasks if not task.cancelled() and (fault := task.exception()) is not None]
    if faults:
        raise faults[0]
