"""Progress on its way to the log: not every tick of it, and never one that is overtaken."""

import asyncio
import time
from contextlib import suppress

from schemas.models import ReportProgress


class Outbox:
    """The progress to be told: the newest alone, each step when it begins, and within a step every now and then.

    Args:
        every_s: how often at most within a step.
    """

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._newest: ReportProgress | None = None
        self._told: ReportProgress | None = None
        self._told_at = 0.0
        self._is_new = asyncio.Event()

    def put(self, report: ReportProgress) -> None:
        """Take what is to be told next; it replaces what has not been told."""
        self._newest = report
        self._is_new.set()

    async def next(self) -> ReportProgress:
        """The newest, as soon as it is due."""
        while True:
            await self._is_new.wait()
            newest = self._newest
            wait_s = self._told_at + self._every_s - time.monotonic()
            if newest is not None and (wait_s <= 0 or self._told is None or newest.step != self._told.step):
                self._is_new.clear()
                self._told, self._told_at = newest, time.monotonic()
                return newest
            self._is_new.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(wait_s, 0.01)):
                    await self._is_new.wait()
            self._is_new.set()
