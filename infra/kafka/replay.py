"""Reading exact parts of the log, as columns or record by record.

The ranges are read one after another in the order of topic, partition and offset, so whoever writes or hashes what
comes out sees one order, whatever the batch size and however the ranges were listed.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from infra.kafka import columns, frame
from infra.kafka.fetch import Fetched, fetch, open_client
from infra.kafka.ranges import checked
from infra.kafka.records import Decoder
from infra.settings import Settings
from schemas.envelope import NAMES, Recorded
from schemas.models import OffsetRange
from schemas.topics import TOPICS


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay has come.

    Attributes:
        done: offsets passed, void and absent ones included.
        total: offsets in all ranges.
        elapsed_s: since it began.
    """

    done: int
    total: int
    elapsed_s: float

    @property
    def eta_s(self) -> float | None:
        """Seconds left at the pace so far; None before anything was read."""
        return self.elapsed_s * (self.total - self.done) / self.done if self.done else None


Report = Callable[[Progress], None]
Tables = dict[str, pl.DataFrame]


async def replay(
    settings: Settings,
    decoder: Decoder,
    ranges: Iterable[OffsetRange],
    *,
    types: Collection[str] | None = None,
    keys: Collection[str] | None = None,
    report: Report | None = None,
) -> AsyncIterator[Tables]:
    """The tenant's events of exactly these ranges as tables by type, piece by piece, in log order.

    Void records are left out, old events come as they are called today. Memory is bounded by a few fetches.

    Args:
        ranges: each within the log, none overlapping another.
        types: full names wanted; None for all.
        keys: only records with one of these keys; None for all.
        report: called after each piece.

    Raises:
        Invalid: a range is no part of the log as it stands.
        NotFound: there is no such topic.
        Incompatible: a record cannot be read; the message names its position.
        Unavailable: the brokers or the registry do not answer.
    """
    ordered = await checked(settings, ranges)
    total, done, began = sum(part.end - part.first for part in ordered), 0, time.monotonic()
    async with open_client(settings, sorted({part.topic for part in ordered})) as client:
        async for fetched in fetch(client, settings, ordered):
            rows = await asyncio.to_thread(_rows, fetched, settings.tenant, keys)
            await decoder.learn_ids(columns.schema_ids(rows))
            topic, partition = TOPICS[fetched.part.topic], fetched.part.partition
            tables = await asyncio.to_thread(columns.events, rows, topic, partition, decoder.codec, types)
            if tables:
                yield tables
            done += fetched.passed
            if report is not None:
                report(Progress(done, total, time.monotonic() - began))


async def recorded(
    settings: Settings, decoder: Decoder, ranges: Iterable[OffsetRange], *, keys: Collection[str] | None = None
) -> AsyncIterator[Recorded]:
    """The same one by one, for few events and for folds that want objects.

    Raises:
        as `replay`.
    """
    ordered = await checked(settings, ranges)
    async with open_client(settings, sorted({part.topic for part in ordered})) as client:
        async for fetched in fetch(client, settings, ordered):
            rows = await asyncio.to_thread(_rows, fetched, settings.tenant, keys, NAMES)
            topic, partition = TOPICS[fetched.part.topic], fetched.part.partition
            raws = [columns.raw(topic, partition, row) for row in rows.iter_rows()]
            await decoder.learn(raws)
            for raw in raws:
                if (event := decoder.decode(raw)) is not None:
                    yield event


def _rows(
    fetched: Fetched, tenant: str, keys: Collection[str] | None, headers: Sequence[str] = columns.HEADERS
) -> pl.DataFrame:
    """What is to be read of what was fetched."""
    part = fetched.part
    rows = columns.of_tenant(frame.of_range(fetched.blocks, part.first, part.end, headers), tenant)
    if keys is not None:
        rows = rows.filter(pl.col("key").is_in(list(keys)))
    return columns.counting(rows, TOPICS[part.topic])
