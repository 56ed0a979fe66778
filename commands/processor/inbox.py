"""The commands of one partition that have been read and not yet answered."""

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import islice

from infra.kafka.records import Raw

GROUP_LIMIT = 1000
INBOX_LIMIT = 5000


class Inbox:
    """A queue by offset: what is taken stays until a later offset is asked for, so that it can be decided again."""

    def __init__(self) -> None:
        self._waiting: deque[Raw] = deque()
        self._arrived = asyncio.Event()

    @property
    def has_room(self) -> bool:
        """Whether more commands should be read."""
        return len(self._waiting) < INBOX_LIMIT

    def put(self, raws: Sequence[Raw]) -> None:
        """Commands as they come from the log, in order."""
        self._waiting.extend(raws)
        self._arrived.set()

    def clear(self) -> None:
        """Forget what waits: it comes again."""
        self._waiting.clear()

    async def take(self, start: int) -> Sequence[Raw]:
        """Everything that waits from offset `start` on, at least one, at most `GROUP_LIMIT`."""
        while True:
            while self._waiting and self._waiting[0].offset < start:
                self._waiting.popleft()
            if self._waiting:
                return list(islice(self._waiting, GROUP_LIMIT))
            self._arrived.clear()
            await self._arrived.wait()
