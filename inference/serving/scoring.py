"""Asking the Triton servers: one after another in turn, a second one when the first is slow, none that is down."""

import asyncio
import itertools
import time
from contextlib import suppress
from types import TracebackType
from typing import Self, TypeAlias

from prometheus_client import Gauge

from inference.artifact import Metadata
from inference.inputs import ModelInput
from inference.interactions import Float32Array, Int32Array
from inference.serving.breaker import Breaker
from inference.triton.client import Triton
from infra.settings import Settings
from schemas.errors import Problem, TimedOut, Unavailable

BREAKER_OPEN = Gauge("retrace_triton_breaker_open", "1 while a Triton server is left alone.", ["server"])

AWAY = "triton_unavailable"
WARM_S = 2.0

Answer: TypeAlias = tuple[Int32Array, Float32Array]


class Scoring:
    """All Triton servers as one; use it as an async context manager.

    Args:
        settings: addresses, and how long an answer may take in all.
    """

    def __init__(self, settings: Settings) -> None:
        self._servers = [Triton(address) for address in settings.triton.grpc]
        self._breakers = {server.address: Breaker() for server in self._servers}
        self._turn = itertools.count()
        self._timeout_s = settings.triton.timeout_ms / 1000
        self._hedge_s = settings.recommend.hedge_ms / 1000

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            await server.close()

    @property
    def note(self) -> str:
        """Which servers are left alone; empty when none is."""
        now = time.monotonic()
        down = [address for address, breaker in self._breakers.items() if breaker.state(now) != "closed"]
        return f"degraded, no answer from {', '.join(down)}" if down else ""

    async def score(self, name: str, given: ModelInput) -> Answer:
        """What the Triton model `name` answers for one user, as rows of item indices and scores.

        The next server is asked when one fails, or is slow; the first answer counts.

        Raises:
            TimedOut: no server answered in time.
            Unavailable: none is there.
            NotFound: none has the model loaded.
            Incompatible: the model fails on this input.
        """
        deadline = time.monotonic() + self._timeout_s
        waiting = self._allowed()
        asked: set[asyncio.Task[Answer]] = set()
        fault: BaseException = Unavailable("no Triton server answers; each is left alone for a moment", code=AWAY)
        try:
            while waiting or asked:
                if waiting:
                    asked.add(asyncio.create_task(self._ask(waiting.pop(0), name, given, deadline)))
                patience = self._hedge_s if waiting else None
                done, asked = await asyncio.wait(asked, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if (found := task.exception()) is None:
                        return task.result()
                    fault = found
            raise fault
        finally:
            for task in asked:
                task.cancel()

    async def warm(self, name: str, metadata: Metadata) -> None:
        """Ask every server once, so that the first user does not pay for connections; whatever comes of it."""
        for server in self._servers:
            with suppress(Problem):
                await server.infer(name, *metadata.encode(()), WARM_S)

    def _allowed(self) -> list[Triton]:
        """The servers that may be asked now, another one first each time."""
        now = time.monotonic()
        first = next(self._turn) % len(self._servers)
        in_turn = self._servers[first:] + self._servers[:first]
        return [server for server in in_turn if self._breakers[server.address].allows(now)]

    async def _ask(self, server: Triton, name: str, given: ModelInput, deadline: float) -> Answer:
        started = time.monotonic()
        self._know(server, self._breakers[server.address].calling(started))
        try:
            answer = await server.infer(name, given.ids, given.weights, max(0.001, deadline - started))
        except (TimedOut, Unavailable, asyncio.CancelledError):
            self._know(server, self._breakers[server.address].failed(time.monotonic()))
            raise
        self._know(server, self._breakers[server.address].succeeded())
        return answer

    def _know(self, server: Triton, breaker: Breaker) -> None:
        self._breakers[server.address] = breaker
        BREAKER_OPEN.labels(server.address).set(breaker.state(time.monotonic()) != "closed")
