"""Reading exact parts of the log, as columns or record by record.

The ranges are read one after another in the order of topic, partition and offset, so whoever writes or hashes what
comes out sees one order, whatever the batch size, the number of workers and however the ranges were listed.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

import polars as pl
from aiokafka import AIOKafkaClient

from infra.kafka import columns
from infra.kafka.fetch import Fetched, fetch, open_client
from infra.kafka.lanes import in_order
from infra.kafka.ranges import checked, sliced
from infra.kafka.records import Decoder
from infra.settings import Settings
from schemas.envelope import NAMES, Recorded
from schemas.models import OffsetRange
from schemas.topics import TOPICS

SLICE = 1 << 16
"""Offsets that one worker reads at a time."""
WORKERS = 2
"""Slices that are read at once, unless somebody says otherwise."""
PIECE_BYTES = 16 << 20
"""Values of about so many bytes are decoded at once, at most."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay has come.

    Attributes:
        done: offsets passed, void and absent ones included.
        total: offsets in all ranges.
        elapsed_s: since it began.
        before: offsets that had been passed when it began: where an earlier run had ended.
        size_bytes: of the values that were read since.
    """

    done: int
    total: int
    elapsed_s: float
    before: int = 0
    size_bytes: int = 0

    @property
    def eta_s(self) -> float | None:
        """Seconds left at the pace so far; None before anything was read."""
        read = self.done - self.before
        return self.elapsed_s * (self.total - self.done) / read if read else None


Report = Callable[[Progress], None]
Tables = dict[str, pl.DataFrame]


@dataclass(frozen=True, slots=True)
class Piece:
    """Some consecutive events.

    Attributes:
        part: the offsets they are of. Where a part ends depends on the log and the ranges alone.
        tables: by type; empty when nothing there was wanted.
        size_bytes: of the values that were read.
    """

    part: OffsetRange
    tables: Tables
    size_bytes: int = 0


async def replay(
    settings: Settings,
    decoder: Decoder,
    ranges: Iterable[OffsetRange],
    *,
    types: Collection[str] | None = None,
    keys: Collection[str] | None = None,
    report: Report | None = None,
    workers: int = WORKERS,
) -> AsyncIterator[Tables]:
    """The tenant's events of exactly these ranges as tables by type, piece by piece, in log order.

    Void records are left out, old events come as they are called today. Memory is bounded by a few fetches for each
    worker.

    Args:
        ranges: each within the log, none overlapping another.
        types: full names wanted; None for all.
        keys: only records with one of these keys; None for all.
        report: called after each piece.
        workers: parts of the log that are read at once; it changes nothing in what comes out.

    Raises:
        Invalid: a range is no part of the log as it stands.
        NotFound: there is no such topic.
        Incompatible: a record cannot be read; the message names its position.
        Unavailable: the brokers or the registry do not answer.
    """
    ordered = await checked(settings, ranges)
    total, done, began = sum(part.end - part.first for part in ordered), 0, time.monotonic()
    size_bytes = 0
    async with (
        open_reader(settings, decoder, ordered, types=types, keys=keys) as reader,
        aclosing(in_order(sliced(ordered, SLICE), reader.pieces, workers)) as pieces,
    ):
        async for piece in pieces:
            if piece.tables:
                yield piece.tables
            done += piece.part.end - piece.part.first
            size_bytes += piece.size_bytes
            if report is not None:
                report(Progress(done, total, time.monotonic() - began, size_bytes=size_bytes))


class Reader:
    """Reads parts of the log as columns; made by `open_reader`.

    Args:
        client: knows the topics.
        types: full names wanted; None for all.
        keys: only records with one of these keys; None for all.
    """

    def __init__(
        self,
        client: AIOKafkaClient,
        settings: Settings,
        decoder: Decoder,
        types: Collection[str] | None,
        keys: Collection[str] | None,
    ) -> None:
        self._client, self._settings, self._decoder = client, settings, decoder
        self._types, self._keys = types, keys

    async def pieces(self, part: OffsetRange) -> AsyncGenerator[Piece, None]:
        """The events of a part, the last piece ending where it ends.

        Raises:
            Invalid, Incompatible, Unavailable: as `replay`.
        """
        at, held = part.first, _Held()
        async with aclosing(fetch(self._client, self._settings, [part])) as answers:
            async for fetched in answers:
                held.add(await asyncio.to_thread(_rows, fetched, self._settings.tenant, self._keys))
                for rows, end in held.full():
                    yield await self._piece(part, at, end, rows)
                    at = end
        if at < part.end:
            yield await self._piece(part, at, part.end, held.rest())

    async def _piece(self, part: OffsetRange, first: int, end: int, rows: pl.DataFrame | None) -> Piece:
        where = OffsetRange(topic=part.topic, partition=part.partition, first=first, end=end)
        if rows is None:
            return Piece(where, {})
        await self._decoder.learn_ids(columns.schema_ids(rows))
        codec, topic = self._decoder.codec, TOPICS[part.topic]
        tables = await asyncio.to_thread(columns.events, rows, topic, part.partition, codec, self._types)
        return Piece(where, tables, _bytes(rows))


class _Held:
    """Records that were read and not handed on yet."""

    def __init__(self) -> None:
        self._rows: list[pl.DataFrame] = []
        self._bytes = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Take the next records."""
        if len(rows):
            self._rows.append(rows)
            self._bytes += _bytes(rows)

    def full(self) -> Iterator[tuple[pl.DataFrame, int]]:
        """Pieces of `PIECE_BYTES`, cut behind the record that fills them, and the offset where the next begins."""
        while self._bytes >= PIECE_BYTES:
            rows = pl.concat(self._rows)
            sizes = rows["value"].bin.size().fill_null(0).cast(pl.Int64).cum_sum()
            count = int((sizes < PIECE_BYTES).sum()) + 1
            piece, left = rows[:count], rows[count:]
            self._rows, self._bytes = [left] if len(left) else [], _bytes(left)
            yield piece, piece["offset"][-1] + 1

    def rest(self) -> pl.DataFrame | None:
        """What is left."""
        return pl.concat(self._rows) if self._rows else None


def _bytes(rows: pl.DataFrame) -> int:
    return int(rows["value"].bin.size().cast(pl.Int64).sum() or 0)


@asynccontextmanager
async def open_reader(
    settings: Settings,
    decoder: Decoder,
    ranges: Iterable[OffsetRange],
    *,
    types: Collection[str] | None = None,
    keys: Collection[str] | None = None,
) -> AsyncIterator[Reader]:
    """Reads parts of the topics of these ranges.

    Raises:
        Unavailable: the brokers do not answer.
    """
    async with open_client(settings, sorted({part.topic for part in ranges})) as client:
        yield Reader(client, settings, decoder, types, keys)


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
    rows = columns.of_tenant(fetched.rows(headers), tenant)
    if keys is not None:
        rows = rows.filter(pl.col("key").is_in(list(keys)))
    return columns.counting(rows, TOPICS[part.topic])
