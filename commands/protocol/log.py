"""A log that takes a batch only where its writer expects it: one partition of a decided topic.

The condition is not the log's: Kafka appends whatever it gets, wherever the end is. Each record says where its writer
expects it to stand, and every reader ignores a record that stands elsewhere (`schemas.envelope.counts`). So a log has
to promise three things only: a batch is appended whole or not at all, its records stand side by side, and what has
been acknowledged is read from then on by everybody at the same offsets.
"""

from collections.abc import Sequence
from typing import Protocol

from infra.kafka.append import Entry, Landed, Page, Unknown
from infra.kafka.records import Raw
from schemas.topics import Topic


class DecidedLog(Protocol):
    """One partition."""

    async def append(self, entries: Sequence[Entry]) -> Landed | Unknown:
        """Append one batch, whole or not at all.

        Raises:
            Incompatible: the log will never take this batch.
        """

    async def read(self, start: int) -> Page:
        """Records from `start`, at most up to where the partition ends now.

        Raises:
            Unavailable: the log does not answer.
        """

    async def close(self) -> None:
        """Let go of connections."""


class MemoryLog:
    """A partition in memory, for tests and simulations: it does what Kafka promises, and nothing else.

    Args:
        topic: declaration of its topic.
        partition: its number.
        page_size: most records of a page.
    """

    def __init__(self, topic: Topic, partition: int = 0, page_size: int = 1000) -> None:
        self._topic = topic
        self._partition = partition
        self._page_size = page_size
        self.records: list[Raw] = []

    def place(self, entries: Sequence[Entry]) -> Landed:
        """Append a batch at the end."""
        base = len(self.records)
        for offset, entry in enumerate(entries, base):
            self.records.append(
                Raw(self._topic, self._partition, offset, entry.key.decode(), entry.value, entry.headers, 0)
            )
        return Landed(base)

    def page(self, start: int) -> Page:
        """Records from `start`."""
        records = self.records[start : start + self._page_size]
        following = start + len(records)
        return Page(records, following, following >= len(self.records))

    async def append(self, entries: Sequence[Entry]) -> Landed | Unknown:
        """Append one batch at the end."""
        return self.place(entries)

    async def read(self, start: int) -> Page:
        """Records from `start`."""
        return self.page(start)

    async def close(self) -> None:
        """Nothing to let go of."""
