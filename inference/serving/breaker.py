"""A circuit breaker: after some failures in a row nobody waits for a server that is down, until it answers again.

Source: Nygard 2007 (Release It!), circuit breaker. Time is handed in, so that tests need not wait.
"""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

State: TypeAlias = Literal["closed", "open", "probing"]


@dataclass(frozen=True)
class Breaker:
    """What is known about one server.

    Attributes:
        failures: in a row.
        retry_at: while open, when one caller may try again, in seconds of a monotonic clock.
        threshold: failures in a row that open it.
        pause_s: how long it stays open before one caller tries.
    """

    failures: int = 0
    retry_at: float = 0.0
    threshold: int = 5
    pause_s: float = 0.5

    def allows(self, now: float) -> bool:
        """Whether a call may be made now."""
        return self.failures < self.threshold or now >= self.retry_at

    def calling(self, now: float) -> "Breaker":
        """A call is being made: while open, it is the only one until `pause_s` has passed."""
        return replace(self, retry_at=now + self.pause_s) if self.failures >= self.threshold else self

    def succeeded(self) -> "Breaker":
        """A call was answered."""
        return replace(self, failures=0) if self.failures else self

    def failed(self, now: float) -> "Breaker":
        """A call was not answered in time or not at all."""
        return replace(self, failures=self.failures + 1, retry_at=now + self.pause_s)

    def state(self, now: float) -> State:
        """For people and metrics."""
        if self.failures < self.threshold:
            return "closed"
        return "probing" if now >= self.retry_at else "open"
