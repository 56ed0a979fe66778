"""Several parts of the log read at once, and handed on in order."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Generic, TypeVar

P = TypeVar("P")
T = TypeVar("T")

AHEAD = 1
"""Pieces that a part may have ready before they are wanted: what bounds the memory."""


async def in_order(
    parts: Iterable[P], read: Callable[[P], AsyncGenerator[T, None]], workers: int
) -> AsyncGenerator[T, None]:
    """What `read` gives for each part, part after part, while `workers` of them are being read.

    What comes out is the same for any number of workers. A part that is ahead waits with `AHEAD` pieces in hand.

    Raises:
        Exception: what `read` raises, when its turn has come.
    """
    rest = iter(parts)
    lanes: deque[_Lane[T]] = deque()
    try:
        while True:
            while len(lanes) < max(workers, 1) and (part := next(rest, _END)) is not _END:
                lanes.append(_Lane(read(part)))  # type: ignore[arg-type]
            if not lanes:
                return
            async with aclosing(lanes[0].pieces()) as pieces:
                async for piece in pieces:
                    yield piece
            lanes.popleft()
    finally:
        await _close(lanes)


async def for_each(parts: Iterable[P], work: Callable[[P], Awaitable[None]], workers: int) -> None:
    """Do `work` for every part, `workers` at a time, in whatever order they come to an end.

    Raises:
        Exception: what `work` raises first; the others are cancelled.
    """
    rest = iter(parts)

    async def worker() -> None:
        for part in rest:
            await work(part)

    tasks = [asyncio.create_task(worker()) for _ in range(max(workers, 1))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


_END = object()


class _Lane(Generic[T]):
    """One part that is being read."""

    def __init__(self, source: AsyncGenerator[T, None]) -> None:
        self._ready: asyncio.Queue[T | object] = asyncio.Queue(AHEAD)
        self.task = asyncio.create_task(self._fill(source))

    async def _fill(self, source: AsyncGenerator[T, None]) -> None:
        try:
            async with aclosing(source):
                async for piece in source:
                    await self._ready.put(piece)
        except Exception as fault:
            await self._ready.put(_Fault(fault))
        else:
            await self._ready.put(_END)

    async def pieces(self) -> AsyncGenerator[T, None]:
        while (piece := await self._ready.get()) is not _END:
            if isinstance(piece, _Fault):
                raise piece.fault
            yield piece  # type: ignore[misc]


class _Fault:
    def __init__(self, fault: Exception) -> None:
        self.fault = fault


async def _close(lanes: Iterable[_Lane[T]]) -> None:
    tasks = [lane.task for lane in lanes]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
