"""What a log that appends at an expected offset is asked, and what it answers. Plain values, no client library."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from infra.kafka.records import Raw

RECORD_OVERHEAD = 48
HEADER_OVERHEAD = 6


@dataclass(frozen=True, slots=True)
class Entry:
    """A record to append."""

    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]]

    @property
    def size_bytes(self) -> int:
        """Upper bound of its size in a record batch."""
        headers = sum(map(len, chain.from_iterable(self.headers))) + HEADER_OVERHEAD * len(self.headers)
        return len(self.key) + len(self.value) + headers + RECORD_OVERHEAD


@dataclass(frozen=True, slots=True)
class Landed:
    """The batch is on record; its first entry stands at `offset`, which need not be where it was expected."""

    offset: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody knows whether the batch is on record, or whether it will be.

    Attributes:
        cause: what happened instead of an answer; for people.
    """

    cause: str


@dataclass(frozen=True, slots=True)
class Page:
    """A part of one partition.

    Attributes:
        records: in order, void ones included.
        next_offset: where the next page begins.
        at_end: whether the partition ended there when it was asked.
    """

    records: Sequence[Raw]
    next_offset: int
    at_end: bool
