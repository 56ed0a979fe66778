"""What followed some items at some place of the log, counted from histories that are kept ready.

Reading ten million interactions takes many seconds. So their gists are kept once they have been read
(`inference.counting.gists`) and held by user and time; what has come since is read, and an answer of any age is counted
by masking what came later. Whoever wants everything read anew says so: `inference.counting.scratch` does it.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from inference.counting.gists import Gists
from inference.counting.histories import Histories
from inference.counting.names import Names
from inference.counting.near import Row, top_row
from inference.counting.pairs import NOTHING, Counts
from inference.counting.words import Words
from inference.datasets.dataset import INTERACTIONS
from infra.index.reading import Way
from infra.kafka.ranges import checked
from infra.kafka.records import Decoder
from infra.settings import Settings
from schemas.models import OffsetRange

Place = tuple[str, int]
"""Topic and partition."""

Gone = Collection[tuple[int, int]]
"""Partitions and offsets of interactions that are supposed not to have happened."""


@dataclass(frozen=True)
class Counted:
    """What followed each item, and how that was found."""

    rows: dict[str, Row]
    ways: tuple[Way, ...]


class Followers:
    """Counts what followed items; holds 24 bytes for each interaction once it has been asked."""

    def __init__(self, settings: Settings, decoder: Decoder) -> None:
        self._settings = settings
        self._gists = Gists(settings, decoder)
        self._users, self._items = Names(), Names()
        self._histories: dict[Place, Histories] = {}
        self._words: dict[Place, Words] = {}
        self._turn = asyncio.Lock()

    async def at(self, ranges: Iterable[OffsetRange], items: Collection[str], gone: Gone = ()) -> Counted:
        """What followed these items in exactly these ranges of interactions, heard what these of profiles say.

        Args:
            ranges: each from the beginning of its partition on.

        Raises:
            Invalid: a range is no part of the log as it stands.
            Incompatible: an event cannot be read.
            Unavailable: the brokers or the registry do not answer.
        """
        async with self._turn:
            ordered = await checked(self._settings, ranges)
            ways = [await self._grown(part) for part in ordered]
            return Counted(await asyncio.to_thread(self._rows, ordered, items, gone), tuple(ways))

    async def _grown(self, part: OffsetRange) -> Way:
        """Take up what of a part is not held yet."""
        held = self._held(part)
        read = 0
        if held.end < part.end:
            rest = OffsetRange(topic=part.topic, partition=part.partition, first=held.end, end=part.end)
            (told,) = await self._gists.of([rest])
            await asyncio.to_thread(held.add, told.gists, part.end)
            read = told.read
        return Way(part.topic, part.partition, part.first, part.end, read=read, kept=part.end - read)

    def _held(self, part: OffsetRange) -> Histories | Words:
        place = (part.topic, part.partition)
        if part.topic == INTERACTIONS:
            return self._histories.setdefault(place, Histories(self._users, self._items))
        return self._words.setdefault(place, Words(self._users))

    def _rows(self, ranges: Sequence[OffsetRange], items: Collection[str], gone: Gone) -> dict[str, Row]:
        numbers = {item: number for item in items if (number := self._items.known(item)) is not None}
        ends = {(part.topic, part.partition): part.end for part in ranges}
        counts = self._counts(ends, numbers.values(), gone)
        found = {item: top_row(*counts.row(number), self._items.names.__getitem__) for item, number in numbers.items()}
        return {item: row for item, row in found.items() if row.total}

    def _counts(self, ends: Mapping[Place, int], items: Collection[int], gone: Gone) -> Counts:
        silent: set[int] = set()
        for place, words in self._words.items():
            silent |= words.withdrawn(ends.get(place, 0)) | words.erased(ends.get(place, 0))
        parts = [
            histories.followers(items, ends[place], silent, [offset for number, offset in gone if number == place[1]])
            for place, histories in self._histories.items()
            if place in ends
        ]
        return reduce(Counts.plus, parts, NOTHING)
