"""What a notary has read of one partition and not signed yet."""

from dataclasses import dataclass, field

from infra.audit.chain import Head
from infra.audit.leaf import Leaves


@dataclass(slots=True)
class Draft:
    """The open end of one partition's chain.

    Attributes:
        first: where the next checkpoint begins.
        end: where the reader stands.
        log_end: where the partition ended when it was read last.
        since: when the oldest offset that is not signed yet was read, in seconds of the monotonic clock.
    """

    first: int
    end: int
    log_end: int
    leaves: Leaves = field(default_factory=Leaves)
    since: float | None = None

    def take(self, leaves: Leaves, end: int, log_end: int, now: float) -> None:
        """Read on. What another notary has signed meanwhile is left out."""
        self.leaves.extend(leaves.since(self.first))
        self.end, self.log_end = max(end, self.end), log_end
        if self.since is None and self.end > self.first:
            self.since = now

    def follow(self, head: Head, now: float) -> None:
        """Begin where the chain now ends; what is left counts as read now."""
        if head.end is None or head.end == self.first:
            return
        self.first = head.end
        self.leaves = self.leaves.since(head.end)
        self.end = max(self.end, self.first)
        self.since = now if self.end > self.first else None

    def is_due(self, records: int, seconds: float, now: float) -> bool:
        """Whether it is time for a checkpoint."""
        return len(self.leaves) >= records or (self.since is not None and now - self.since >= seconds)

    def closed(self, records: int) -> tuple[int, Leaves]:
        """Where the next checkpoint ends, and its records: at most so many."""
        if len(self.leaves) <= records:
            return self.end, self.leaves
        return self.leaves.offsets[records], self.leaves.upto(records)

    @property
    def waiting(self) -> int:
        """Offsets of the partition that no checkpoint covers yet."""
        return max(self.log_end - self.first, 0)
