"""Back-pressure: what Kafka could not keep is refused at once, before anything is written.

A command that is taken and then waits for a broker that stands still is the worst answer there is: the client learns
after a long time that nobody knows. So appends that are not confirmed are bounded in number and in age; when one is
too old, the next ones are refused, but for one a moment that finds out whether Kafka answers again.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from prometheus_client import Counter, Gauge, Histogram

from infra.health import Health
from infra.settings import AdmissionSettings
from schemas.errors import Unavailable

COMPONENT = "appends"
UNCONFIRMED = Gauge("retrace_appends_unconfirmed", "Commands and facts that Kafka has not confirmed.")
APPEND_SECONDS = Histogram(
    "retrace_append_seconds",
    "Time from handing a command or fact to Kafka to its confirmation.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
WAITING = Gauge("retrace_commands_waiting", "Requests that wait for a decision.")
REFUSED = Counter("retrace_requests_refused_total", "Requests refused before anything was written, by cause.", ["why"])


class Admission:
    """Lets requests in, or not.

    Args:
        clock: seconds, never backwards.
    """

    def __init__(
        self, limits: AdmissionSettings, health: Health, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = limits
        self._health = health
        self._clock = clock
        self._numbers = count()
        self._since: dict[int, float] = {}  # unconfirmed appends, the oldest first
        self._waiting = 0
        self._stands_still = False
        self._tried_at = float("-inf")
        UNCONFIRMED.set_function(lambda: len(self._since))
        WAITING.set_function(lambda: self._waiting)

    @contextmanager
    def append(self) -> Iterator[None]:
        """Around one append.

        Raises:
            Unavailable: too many wait for Kafka already, or it stands still; nothing was written.
        """
        self._refuse_append()
        number, began = next(self._numbers), self._clock()
        self._since[number] = began
        try:
            yield
        except Unavailable as fault:
            self._tripped(fault.detail)
            self._tried_at = self._clock()
            raise
        else:
            APPEND_SECONDS.observe(self._clock() - began)
            self._confirmed()
        finally:
            del self._since[number]

    @contextmanager
    def decision(self) -> Iterator[None]:
        """Around the wait for one decision.

        Raises:
            Unavailable: too many wait already; nothing was written.
        """
        if self._waiting >= self._limits.max_waiting:
            raise _refused("waiting", f"{self._waiting} requests wait for a decision")
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    def _refuse_append(self) -> None:
        if len(self._since) >= self._limits.max_unconfirmed:
            raise _refused("unconfirmed", f"{len(self._since)} appends wait for Kafka")
        now = self._clock()
        age_s = now - next(iter(self._since.values()), now)
        if age_s > self._limits.stall_s:
            self._tripped(f"Kafka has left an append unconfirmed for {age_s:.1f} s")
        if not self._stands_still:
            return
        if now - self._tried_at < self._limits.stall_s:
            raise _refused("stall", self._health.components[COMPONENT].cause)
        self._tried_at = now

    def _tripped(self, cause: str) -> None:
        self._stands_still = True
        self._health.failed(COMPONENT, cause)

    def _confirmed(self) -> None:
        if self._stands_still:
            self._stands_still = False
            self._health.ok(COMPONENT)


def _refused(why: str, cause: str) -> Unavailable:
    REFUSED.labels(why).inc()
    return Unavailable(f"{cause}: nothing was written, send it again in a moment", code="overloaded")
