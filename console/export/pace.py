"""How fast a replay comes on."""

import time

from infra.kafka.replay import Progress, Report


class Pace:
    """Counts offsets and tells of them.

    Args:
        total: offsets in all.

    Attributes:
        before: offsets that lay behind when it began.
    """

    def __init__(self, total: int, report: Report) -> None:
        self._total, self._report = total, report
        self._done = self.before = 0
        self._began = time.monotonic()

    def skip(self, offsets: int) -> None:
        """So many lay behind already."""
        self.before += offsets
        self.passed(offsets)

    def passed(self, offsets: int) -> None:
        """So many more lie behind."""
        self._done += offsets
        self._report(Progress(self._done, self._total, time.monotonic() - self._began, self.before))
