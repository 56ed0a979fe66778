"""The record of what was served: never waited for, never lost unnoticed.

Answers wait in a bounded queue and a task appends them. Each carries a sequence number of this server's start, which a
record that is not made uses up too, so that whoever reads `decisions` sees the gap; how far the numbers went is told by
the server, or for one that was killed by the next one (`inference.serving.tickets`).
"""

import asyncio
import socket
import time
from collections import deque
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import structlog
from prometheus_client import Counter, Gauge
from uuid6 import uuid7

from inference.serving.reporting import Reporter
from inference.serving.tickets import ENDING, Tickets
from infra.health import Health
from infra.kafka.facts import FactWriter
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.decisions import RecommendationServed
from schemas.envelope import Meta
from schemas.errors import Incompatible, Problem, TooLarge, Unavailable

WAITING = Gauge("retrace_decisions_waiting", "Answers that wait to be recorded.")
SHED = Counter("retrace_decisions_shed_total", "Answers that were not recorded: the queue was full or Kafka away.")
RECORDED = Counter("retrace_decisions_recorded_total", "Answers recorded.")

BATCH = 500
RETRY_S = 1.0
WATCH_S = 0.5
NOTICE_S = 2.0
LINGER_MS = 5
TIMEOUT_S = 5.0

log = structlog.get_logger()


def server_id() -> str:
    """Name of this server and of this start of it."""
    return f"{socket.gethostname()}/{uuid7()}"


@dataclass(frozen=True, slots=True)
class Ticket:
    """The right to record one answer.

    Attributes:
        server: see `server_id`.
        sequence: 1, 2, 3 ...
    """

    server: str
    sequence: int


class Recorder:
    """Takes records without waiting and appends them in their order.

    Args:
        size: records that may wait.
        full: what to do with one more; see `RecommendSettings.queue_full`.
        folder: where the count of answers outlives a kill of the process; nowhere when left out.
    """

    def __init__(self, size: int, full: Literal["shed", "refuse"], folder: Path | None = None) -> None:
        self._size = size
        self._full = full
        self._queue: deque[tuple[RecommendationServed, Meta, int]] = deque()
        self._arrived = asyncio.Event()
        self._server = server_id()
        name = self._server.rpartition("/")[2]
        self.tickets = Tickets(self._server, size, None if folder is None else folder / f"{name}{ENDING}")
        self._moved_at = time.monotonic()
        self._closed = False

    def admit(self) -> None:
        """Look whether an answer may be given now.

        Raises:
            Unavailable: the queue is full, and answers that would not be recorded are not wanted.
        """
        if self._full == "refuse" and len(self._queue) >= self._size:
            raise Unavailable("answers cannot be recorded now: Kafka is away; try again", code="recorder_full")

    def ticket(self) -> Ticket:
        """The next sequence number."""
        return Ticket(self._server, self.tickets.next())

    def put(self, decision: RecommendationServed, meta: Meta) -> bool:
        """Take a record; whether it will be made."""
        if len(self._queue) >= self._size:
            SHED.inc()
            self.tickets.lose(decision.sequence, decision.decision_id, "shed")
            return False
        if not self._queue:
            self._moved_at = time.monotonic()
        self._queue.append((decision, meta, self.tickets.hold(decision.sequence, decision.decision_id)))
        WAITING.set(len(self._queue))
        self._arrived.set()
        return True

    def still_for_s(self, now: float) -> float:
        """For how long records have waited without any being made, in seconds of the monotonic clock."""
        return now - self._moved_at if self._queue else 0.0

    @property
    def waiting(self) -> int:
        """Records that are not made yet."""
        return len(self._queue)

    def close(self) -> None:
        """Take nothing more; `run` ends when everything is recorded."""
        self._closed = True
        self._arrived.set()

    def abandon(self) -> None:
        """Count as shed what still waits; the process ends, and the next one reports what it was."""
        if self._queue:
            SHED.inc(len(self._queue))
            log.error("answers were not recorded", lost=len(self._queue), server=self._server)
        self.tickets.close(done=False)

    async def run(self, writer: FactWriter) -> None:
        """Append what is taken, until `close` and nothing waits.

        Raises:
            Unavailable: Kafka did not confirm; what it did not confirm waits on, and keeps its id.
        """
        while not (self._closed and not self._queue):
            if not self._queue:
                self._arrived.clear()
                await self._arrived.wait()
            await self._append_some(writer)

    async def _append_some(self, writer: FactWriter) -> None:
        batch = list(islice(self._queue, BATCH))
        outcomes = await asyncio.gather(*(writer.append(*entry[:2]) for entry in batch), return_exceptions=True)
        faults = [(entry, o) for entry, o in zip(batch, outcomes, strict=True) if isinstance(o, BaseException)]
        again = [entry for entry, fault in faults if not self._is_lost(entry[0], fault)]
        for _ in batch:
            self._queue.popleft()
        self._queue.extendleft(reversed(again))
        for slot in {slot for _, _, slot in batch} - {slot for _, _, slot in again}:
            self.tickets.release(slot)
        self._count(len(batch) - len(faults))
        if again:
            raise Unavailable(f"{len(again)} answers are not recorded yet: {faults[0][1]}")

    def _is_lost(self, decision: RecommendationServed, fault: BaseException) -> bool:
        """Whether trying again is of no use: the record itself is wrong."""
        if not isinstance(fault, Incompatible | TooLarge):
            return False
        SHED.inc()
        self.tickets.lose(decision.sequence, decision.decision_id, "refused")
        log.error("answer cannot be recorded", cause=fault.detail, server=self._server)
        return True

    def _count(self, recorded: int) -> None:
        WAITING.set(len(self._queue))
        if recorded:
            RECORDED.inc(recorded)
            self._moved_at = time.monotonic()


async def record(settings: Settings, recorder: Recorder, health: Health) -> None:
    """Append what `recorder` takes until it is closed, over every absence of Kafka or the registry.

    Beside the records it reports how many answers there were, its last word when all of them are recorded.
    """
    reporter = Reporter(settings, recorder.tickets)
    watching = asyncio.create_task(_watch(recorder, health, settings.recommend.kafka_patience_s))
    try:
        while True:
            try:
                codec = (await open_decoder(settings)).codec
                async with FactWriter(settings, codec, linger_ms=LINGER_MS, timeout_s=TIMEOUT_S) as writer:
                    await _recorded(recorder, reporter, writer)
                    return
            except Problem as problem:
                log.warning("recording stands still", waiting=recorder.waiting, cause=problem.detail)
                await asyncio.sleep(RETRY_S)
    finally:
        watching.cancel()


async def _recorded(recorder: Recorder, reporter: Reporter, writer: FactWriter) -> None:
    reporting = asyncio.create_task(reporter.run(writer))
    try:
        await recorder.run(writer)
    finally:
        reporting.cancel()
        await asyncio.gather(reporting, return_exceptions=True)
    await reporter.end(writer)
    recorder.tickets.close(done=True)


async def _watch(recorder: Recorder, health: Health, patience_s: float) -> None:
    """Say how recording goes. A short absence of Kafka is a note; a long one is a fault, because the queue fills."""
    while True:
        still_s = recorder.still_for_s(time.monotonic())
        cause = f"{recorder.waiting} answers wait to be recorded, for {still_s:.0f} s: is Kafka running?"
        if still_s >= patience_s:
            health.failed("recording", cause)
        else:
            health.ok("recording", f"degraded, {cause}" if still_s > NOTICE_S else "")
        await asyncio.sleep(WATCH_S)
