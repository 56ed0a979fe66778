"""Load on a service, in two forms.

An open loop sends at fixed times, whether or not earlier requests have been answered, as people do who do not know of
each other; a latency counts from when the request was due, so that a service that stands still is charged for every
request that it kept waiting ("coordinated omission" leaves those out). A closed loop has a fixed number of clients
that each wait for their answer, and finds the throughput.

Source: Gil Tene, How NOT to Measure Latency (2015); Schroeder et al., Open Versus Closed (NSDI 2006).
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count

from console.bench.stats import percentile

Send = Callable[[int], Awaitable[None]]
"""Sends the request of this number and returns when it is answered; raises when it is refused."""


@dataclass
class Load:
    """What came of a load.

    Attributes:
        latencies_ms: of the answered requests, in the order of their answers.
        faults: refused or failed requests, by what went wrong.
        elapsed_s: from the first request to the last answer.
        late_ms: how much later than due the generator itself began to send, at worst; part of the latencies.
    """

    latencies_ms: list[float] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    elapsed_s: float = 0.0
    late_ms: float = 0.0

    @property
    def rate(self) -> float:
        """Answered requests per second."""
        return len(self.latencies_ms) / self.elapsed_s if self.elapsed_s else 0.0

    def percentile_ms(self, share: float) -> float:
        """A percentile of the latencies; infinite when nothing was answered."""
        return percentile(self.latencies_ms, share) if self.latencies_ms else float("inf")

    def summary(self) -> dict[str, float]:
        """As figures."""
        return {
            "p50": self.percentile_ms(0.5),
            "p95": self.percentile_ms(0.95),
            "p99": self.percentile_ms(0.99),
            "rate": self.rate,
            "answered": len(self.latencies_ms),
            "faults": self.faults.total(),
            "late_ms": self.late_ms,
        }


async def open_loop(send: Send, *, rate: float, duration_s: float) -> Load:
    """Send `rate` requests a second for `duration_s` seconds, each when it is due, and wait for all answers."""
    load, began = Load(), time.perf_counter()
    async with asyncio.TaskGroup() as under_way:
        for number in range(round(rate * duration_s)):
            due = began + number / rate
            if (early_s := due - time.perf_counter()) > 0:
                await asyncio.sleep(early_s)
            load.late_ms = max(load.late_ms, (time.perf_counter() - due) * 1000)
            under_way.create_task(_sent(load, send, number, due))
    load.elapsed_s = time.perf_counter() - began
    return load


async def closed_loop(send: Send, *, clients: int, duration_s: float) -> Load:
    """Let so many clients send one request after another until the time is over."""
    load, began, numbers = Load(), time.perf_counter(), count()

    async def client() -> None:
        while (now := time.perf_counter()) - began < duration_s:
            await _sent(load, send, next(numbers), now)

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
    load.elapsed_s = time.perf_counter() - began
    return load


async def _sent(load: Load, send: Send, number: int, due: float) -> None:
    """Send one request; what it raises is counted, for a load goes on."""
    try:
        await send(number)
    except Exception as fault:
        load.faults[f"{type(fault).__name__}: {fault}"[:200]] += 1
    else:
        load.latencies_ms.append((time.perf_counter() - due) * 1000)
