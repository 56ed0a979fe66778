"""One read model over one topic."""

from collections.abc import Collection, Sequence

import structlog
from prometheus_client import Counter, Histogram

from projections.batch import Batch
from projections.faults import Broken
from projections.parked import Parked
from projections.parking import Parking, Told
from projections.standing import Standing
from projections.view import Index, Projection
from projections.writer import Writer

EVENTS = Counter("retrace_projection_events_total", "Events given to a read model.", ["view", "topic"])
BATCH_EVENTS = Histogram(
    "retrace_projection_batch_events",
    "Events in a batch.",
    ["view"],
    buckets=(0, 1, 2, 5, 10, 50, 100, 500, 1000, 5000, 10000),
)
APPLY_SECONDS = Histogram(
    "retrace_projection_apply_seconds",
    "Time to bring a batch into its store, checkpoint included.",
    ["view"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)

IN_ONE_PIECE = 4_000
"""Events whose documents are written under one checkpoint."""

log = structlog.get_logger()


class Lane:
    """Takes the batches of one topic into one read model, at its own pace.

    Attributes:
        reached: next offset of every partition that it takes; empty before `open`.
        stopped: whether it has given up; the projection's standing tells why.
    """

    def __init__(self, projection: Projection, topic: str, writer: Writer, told: Told, standing: Standing) -> None:
        self.projection = projection
        self.topic = topic
        self.standing = standing
        self.reached: dict[int, int] = {}
        self._writer = writer
        self._told = told
        self._parking: Parking | None = None

    @property
    def stopped(self) -> bool:
        """Whether its read model has stopped, here or in another lane."""
        return self.standing.stopped

    async def open(self, partitions: Collection[int]) -> None:
        """Connect and read the checkpoint.

        Raises:
            Unavailable: the store is away.
        """
        try:
            start = await self._writer.open(self.topic, partitions)
            self._parking = Parking(self.projection, start.known, self._told)
            self.reached = start.reached
        except Broken as fault:
            self.stop(fault)

    async def close(self) -> None:
        """Let go of the store."""
        await self._writer.close()

    async def take(self, batch: Batch) -> None:
        """Bring what is new of a batch into the read model. A view whose own fault it is stops.

        A large batch of documents goes in pieces, each with its checkpoint: Elasticsearch takes its time.

        Raises:
            Unavailable: the store is away.
            Overtaken: another runner has moved the checkpoint.
        """
        part = batch.beyond(self.reached)
        if isinstance(self.projection, Index) and len(part) > IN_ONE_PIECE:
            for half in part.halves():
                await self.take(half)
            return
        if self.stopped or not part.ends or self._parking is None:
            return
        name = self.projection.name
        try:
            with APPLY_SECONDS.labels(name).time():
                await self._parking.take(part, self._apply)
        except Broken as fault:
            self.stop(fault)
            return
        EVENTS.labels(name, self.topic).inc(len(part))
        BATCH_EVENTS.labels(name).observe(len(part))
        self.standing.runs()

    async def rest(self) -> None:
        """There is nothing to read: show a new version to its readers once all of its lanes have come this far."""
        try:
            if self.standing.rests(self.topic) and await self._writer.publish():
                log.info("published", view=self.projection.name, version=self.projection.version)
        except Broken as fault:
            self.stop(fault)

    def idles(self) -> None:
        """Other workers have all the partitions."""
        self.standing.rests(self.topic)

    def stop(self, fault: Exception) -> None:
        """Give up for a while, visibly."""
        self.standing.stops(fault)
        log.error("view stopped", view=self.projection.name, cause=str(fault))

    async def _apply(self, batch: Batch, aside: Sequence[Parked]) -> None:
        await self._writer.apply(batch, aside)
        self.reached |= batch.ends


def waits(lanes: list[Lane], fault: Exception) -> None:
    """Say of every lane that it waits, and for what."""
    for lane in lanes:
        lane.standing.waits(fault)
    log.warning("projections wait", views=[lane.projection.name for lane in lanes], cause=str(fault))


def cohorts(lanes: list[Lane], near: int) -> list[list[Lane]]:
    """Lanes of one topic in groups that read and decode together.

    A lane that is more than `near` events behind the one before it reads alone, so that it holds nobody up.
    """
    groups: list[list[Lane]] = []
    for lane in sorted(lanes, key=lambda lane: sum(lane.reached.values()), reverse=True):
        last = groups[-1][-1] if groups else None
        if last is not None and sum(last.reached.values()) - sum(lane.reached.values()) <= near:
            groups[-1].append(lane)
        else:
            groups.append([lane])
    return groups
