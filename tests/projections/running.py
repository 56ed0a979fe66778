"""A projector in the process of the test."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from infra.ending import ended
from infra.health import Health


@dataclass
class Running:
    """A projector in this process."""

    health: Health
    task: asyncio.Task[None]

    async def stop(self) -> None:
        await ended(self.task)


StartProjector = Callable[..., Running]
