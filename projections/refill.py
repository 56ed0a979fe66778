"""A fold of the log that goes on from checkpoints of its own, at a pace that is given, and can be cut off anywhere.

Nothing outside is touched: no dead letter is written, nobody is notified.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

from infra.kafka.records import Decoder
from infra.settings import Settings
from projections.batch import Batch
from projections.beside import Beside, Positions
from projections.faults import translated
from projections.parked import Parked
from projections.parking import Parking, Quiet
from projections.reader import Reader, open_reader
from projections.view import Projection
from schemas.errors import Unavailable

Progress = Callable[[int, int], None]
"""Called with the records folded so far and the records there are to fold."""

PATIENCE = 20
"""Empty reads, of a second each, after which Kafka is held to be away."""


class Pace:
    """Not more than so many records a second.

    Args:
        rate: None for as many as there are.
    """

    def __init__(self, rate: int | None) -> None:
        self._rate = rate
        self._free_at = 0.0

    def pieces(self, batch: Batch) -> Iterator[Batch]:
        """A batch in pieces of about a second each."""
        if self._rate is None or len(batch) <= max(self._rate, 1):
            yield batch
            return
        for half in batch.halves():
            yield from self.pieces(half)

    async def keep(self, records: int) -> None:
        """Wait until so many more may be read."""
        if self._rate is None:
            return
        now = time.monotonic()
        self._free_at = max(self._free_at, now) + records / self._rate
        await asyncio.sleep(self._free_at - now)


class Speed:
    """How fast a fold is of late: over the last ten seconds at least."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._records = 0
        self._before = 0.0

    def count(self, records: int) -> None:
        """So many more are folded."""
        self._records += records

    @property
    def per_s(self) -> float:
        """Records a second."""
        elapsed = time.monotonic() - self._since
        now = self._records / elapsed if elapsed > 0 else 0.0
        if elapsed > 10:
            self._since, self._records, self._before = time.monotonic(), 0, now
        return now if elapsed > 2 else self._before or now


class Fold:
    """Folds what stands beside a live read model.

    Args:
        reached: the checkpoints that it goes on from.
    """

    def __init__(
        self,
        settings: Settings,
        decoder: Decoder,
        projection: Projection,
        beside: Beside,
        reached: Mapping[str, Mapping[int, int]],
        *,
        rate: int | None,
        progress: Progress,
    ) -> None:
        self.speed = Speed()
        self._settings = settings
        self._decoder = decoder
        self._projection = projection
        self._beside = beside
        self._reached = {topic: dict(partitions) for topic, partitions in reached.items()}
        self._pace = Pace(rate)
        self._progress = progress
        self._parkings: dict[str, Parking] = {}

    def behind(self, targets: Positions) -> int:
        """Records that are missing up to there."""
        ends = ((topic, p, end) for topic, partitions in targets.items() for p, end in partitions.items())
        return sum(max(end - self._reached.get(topic, {}).get(p, 0), 0) for topic, p, end in ends)

    async def up_to(self, targets: Positions, *, hurry: bool = False) -> None:
        """Fold everything below these offsets that has not been folded yet.

        Args:
            hurry: whether the pace does not count, since the live read model waits.

        Raises:
            Unavailable: Kafka does not deliver it.
        """
        total = sum(end for partitions in targets.values() for end in partitions.values())
        pace = Pace(None) if hurry else self._pace
        for topic, ends in targets.items():
            reached = self._reached.setdefault(topic, dict.fromkeys(ends, 0))
            wanted = {p: reached[p] for p, end in ends.items() if reached[p] < end}
            if wanted:
                async with open_reader(self._settings, self._decoder, topic, wanted) as reader:
                    async for batch in batches_up_to(reader, wanted, ends):
                        await self._take(batch, pace, total)

    async def _take(self, batch: Batch, pace: Pace, total: int) -> None:
        for piece in pace.pieces(batch):
            await self._bring(piece)
            self._reached[batch.topic] |= piece.ends
            records = sum(end - piece.first[p] for p, end in piece.ends.items())
            self.speed.count(records)
            self._progress(sum(n for part in self._reached.values() for n in part.values()), total)
            await pace.keep(records)

    async def _bring(self, batch: Batch) -> None:
        """Fold a batch; what does not fit stands aside with what follows of its key, as beside the live one."""
        parking = self._parkings.get(batch.topic)
        if parking is None:
            known = await self._beside.known(batch.topic)
            parking = self._parkings[batch.topic] = Parking(self._projection, known, Quiet())
        await parking.take(batch, self._apply)

    async def _apply(self, batch: Batch, aside: Sequence[Parked]) -> None:
        with translated(self._projection.name):
            await self._beside.fold(batch, aside)


async def batches_up_to(reader: Reader, start: Mapping[int, int], ends: Mapping[int, int]) -> AsyncIterator[Batch]:
    """What a reader brings until every partition that it started in has come to its end; the next is read ahead.

    Raises:
        Unavailable: Kafka does not deliver it.
    """
    reached, empty = dict(start), 0
    upcoming = asyncio.create_task(reader.read())
    try:
        while any(reached[p] < ends[p] for p in reached):
            batch = await upcoming
            upcoming = asyncio.create_task(reader.read())
            empty = empty + 1 if batch is None else 0
            if empty > PATIENCE:
                raise Unavailable(f"Kafka has brought nothing for {empty} s, though the log goes on after {reached}")
            if batch is not None:
                wanted = batch.below(ends)
                if wanted.ends:
                    reached |= wanted.ends
                    yield wanted
    finally:
        upcoming.cancel()
        await asyncio.gather(upcoming, return_exceptions=True)
