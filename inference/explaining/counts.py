"""How often each item had been met at some place of the log, counted from the log itself.

Counting ten million interactions takes many seconds. So closed pieces are kept once they have been counted
(`inference.explaining.pieces`), and only what is not kept, the rest behind the last piece at least, is read again.
Whoever wants everything counted anew says so.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from inference.counting.gists import standing
from inference.counting.seen import hash_of
from inference.explaining.pieces import SIZE, Piece, Pieces
from infra.index.reading import Way
from infra.kafka.columns import client_chosen
from infra.kafka.ranges import checked
from infra.kafka.records import Decoder
from infra.kafka.replay import replay
from infra.settings import Settings
from schemas.interactions import InteractionRecorded
from schemas.models import OffsetRange


@dataclass(frozen=True)
class Counted:
    """How often each item had been met, and how that was found."""

    items: dict[str, int]
    ways: tuple[Way, ...]


@dataclass
class Sum:
    """The kept pieces of one partition, up to some number, added up.

    Attributes:
        pieces: how many.
        counts: interactions by item.
        chosen: hashes of chosen ids, piece by piece, each in order.
    """

    pieces: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    chosen: list[NDArray[np.uint64]] = field(default_factory=list)

    def add(self, piece: Piece) -> None:
        """Take in the next piece."""
        self.pieces += 1
        self.counts.update(piece.counts)
        if len(piece.chosen):
            self.chosen.append(np.sort(piece.chosen))


class Counts:
    """Counts interactions by item, as the read model `popularity` does.

    An id that a client chose counts once for each user.
    """

    def __init__(self, settings: Settings, decoder: Decoder) -> None:
        self._settings = settings
        self._decoder = decoder
        self._kept = Pieces(settings)
        self._sums: dict[int, Sum] = {}

    async def at(self, ranges: Sequence[OffsetRange], *, kept: bool = True) -> Counted:
        """The counts of exactly these ranges, which begin where the log does.

        Args:
            kept: whether pieces that were counted before are believed.

        Raises:
            Invalid: a range is no part of the log as it stands.
            Incompatible: an event cannot be read.
            Unavailable: the brokers or the registry do not answer.
        """
        ordered = await checked(self._settings, ranges)
        sums = {part.partition: await self._sum(part) if kept else Sum() for part in ordered}
        stretches = [_behind(part, sums[part.partition].pieces) for part in ordered]
        folds = {part.partition: Fold(sums[part.partition].chosen) for part in ordered}
        async for tables in replay(self._settings, self._decoder, stretches, types={InteractionRecorded.AVRO}):
            for table in tables.values():
                await asyncio.to_thread(folds[table["_partition"][0]].add, table)
        total: Counter[str] = Counter()
        ways: list[Way] = []
        for part, stretch in zip(ordered, stretches, strict=True):
            total.update(sums[part.partition].counts)
            total.update(folds[part.partition].counts)
            read = stretch.end - stretch.first
            ways.append(Way(part.topic, part.partition, part.first, part.end, read=read, kept=stretch.first))
            if kept:
                await asyncio.to_thread(self._keep, part, folds[part.partition])
        return Counted(dict(total), tuple(ways))

    async def _sum(self, part: OffsetRange) -> Sum:
        """What is kept of a part, added up."""
        whole = part.end // SIZE
        found = self._sums.get(part.partition, Sum())
        if found.pieces > whole:
            found = Sum()  # of an earlier moment than the last one asked for
        pieces = await asyncio.to_thread(self._kept.get, part.partition, found.pieces, whole)
        for piece in pieces[: await self._sound(part, pieces)]:
            found.add(piece)
        self._sums[part.partition] = found
        return found

    async def _sound(self, part: OffsetRange, pieces: Sequence[Piece]) -> int:
        """How many of these pieces, from the first on, were counted on this log: their last events stand there."""
        stand = await standing(self._settings, part, [piece.last for piece in pieces])
        return (*stand, False).index(False)

    def _keep(self, part: OffsetRange, fold: "Fold") -> None:
        """Keep what has become whole."""
        found = self._sums[part.partition]
        for number in range(found.pieces, part.end // SIZE):
            piece = fold.piece(number)
            self._kept.put(part.partition, number, piece)
            found.add(piece)


class Fold:
    """Counts a stretch of one partition, piece by piece.

    Args:
        before: hashes of the chosen ids that came before it, in order within each array.
    """

    def __init__(self, before: Iterable[NDArray[np.uint64]]) -> None:
        self._before = tuple(before)
        self._seen: set[int] = set()
        self._chosen: dict[int, list[int]] = {}
        self._last: dict[int, tuple[int, str]] = {}
        self._counts: dict[int, Counter[str]] = {}

    def add(self, table: pl.DataFrame) -> None:
        """Count events, which come in the order of the log."""
        known = table.select(
            (pl.col("_offset") // SIZE).alias("piece"),
            pl.col("_offset"),
            pl.col("_id"),
            pl.col("user_id"),
            pl.col("item_id"),
            client_chosen(pl.col("_id")).alias("chosen"),
        )
        for piece, item, count in known.filter(~pl.col("chosen")).group_by("piece", "item_id").len().iter_rows():
            self._counts.setdefault(piece, Counter())[item] += count
        for piece, offset, id in known.group_by("piece").agg(pl.col("_offset", "_id").last()).iter_rows():
            self._last[piece] = (offset, id)
        self._add_chosen(known.filter(pl.col("chosen")))

    def _add_chosen(self, rows: pl.DataFrame) -> None:
        """Count those whose id comes for the first time from their user."""
        pairs = zip(rows["_id"], rows["user_id"], strict=True)
        hashes = np.array([hash_of(id, user) for id, user in pairs], np.uint64)
        old = np.zeros(len(hashes), np.bool_)
        for before in self._before:
            old |= before[np.minimum(np.searchsorted(before, hashes), len(before) - 1)] == hashes
        for piece, item, one, is_old in zip(rows["piece"], rows["item_id"], hashes.tolist(), old, strict=True):
            if not is_old and one not in self._seen:
                self._seen.add(one)
                self._chosen.setdefault(piece, []).append(one)
                self._counts.setdefault(piece, Counter())[item] += 1

    @property
    def counts(self) -> Counter[str]:
        """All of the stretch together."""
        total: Counter[str] = Counter()
        for counts in self._counts.values():
            total.update(counts)
        return total

    def piece(self, number: int) -> Piece:
        """One of the whole pieces."""
        counts, chosen = self._counts.get(number, Counter()), self._chosen.get(number, [])
        return Piece(dict(counts), np.array(chosen, np.uint64), self._last.get(number))


def _behind(part: OffsetRange, pieces: int) -> OffsetRange:
    """What of a part stands behind its first pieces."""
    return OffsetRange(topic=part.topic, partition=part.partition, first=pieces * SIZE, end=part.end)
