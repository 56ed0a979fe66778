"""How much memory this process takes while something runs."""

import threading
from types import TracebackType
from typing import Self

import psutil

EVERY_S = 0.01


class Growth:
    """The most that was resident while the block ran, above what was at its beginning.

    Attributes:
        mib: of it.
    """

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.mib = 0.0

    def __enter__(self) -> Self:
        self._before = self._process.memory_info().rss
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(EVERY_S):
            grown = self._process.memory_info().rss - self._before
            self.mib = max(self.mib, grown / (1 << 20))
