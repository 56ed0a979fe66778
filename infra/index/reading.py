"""The few events of some keys, or with some items, in long parts of the log: picked out by an index, else all is read.

Both ways give the same events. The index is never believed: what it points at is read from the log, what it says
nothing of is read as well, and before anything else it is tried at some places of the log. An index of another log, or
one that is damaged there, is left aside, and all is read.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from infra.index.signatures import Signatures, signature, signatures
from infra.kafka.at import spans
from infra.kafka.fetch import open_client
from infra.kafka.pick import pick
from infra.kafka.ranges import checked
from infra.kafka.records import Decoder, Raw
from infra.kafka.replay import recorded
from infra.settings import Settings
from schemas.envelope import Recorded
from schemas.errors import Invalid
from schemas.interactions import InteractionRecorded
from schemas.models import OffsetRange

TRIED = 8
"""Places at which an index is tried."""

WORTH = 60
"""Records that are read one after another in the time that picking one takes."""

SHORTEST = 2_000
"""Parts up to this long are read whole, without asking the index."""

NEAR = 512
"""Offsets between two that the index is silent about, up to which all between them is read along."""

SHORT = 64
"""Silent stretches up to this long are picked."""


@dataclass(frozen=True)
class Way:
    """How a part of the log was read.

    Attributes:
        topic, partition, first, end: the part.
        read: offsets that were read one after another.
        picked: records that were read singly because the index said so, or said nothing.
        indexed: offsets that were not read because the index knows them to be of other keys.
        kept: offsets that were not read because what they add up to is kept.
        why: why the index was not used; empty when it was.
    """

    topic: str
    partition: int
    first: int
    end: int
    read: int = 0
    picked: int = 0
    indexed: int = 0
    kept: int = 0
    why: str = ""


@dataclass(frozen=True, eq=False)
class Plan:
    """What of a part of the log has to be read.

    Attributes:
        picks: offsets, in their order.
        tries: offsets that are picked to try the index.
        scans: stretches, each as first and end.
    """

    picks: NDArray[np.int64]
    tries: NDArray[np.int64]
    scans: tuple[tuple[int, int], ...]

    @property
    def scanned(self) -> int:
        """Offsets in all stretches."""
        return sum(end - first for first, end in self.scans)


def plan(found: Signatures, keys: Collection[str], first: int, end: int) -> Plan:
    """The least work after which every event of these keys in `first`..`end` has been seen."""
    known = found.between(first, end)
    silent = known.unknown
    stretches = list(spans(silent[silent >= first], NEAR))
    scans = tuple((one, other) for one, other in stretches if other - one > SHORT)
    short = [np.arange(one, other) for one, other in stretches if other - one <= SHORT]
    picks = np.unique(np.concatenate([known.of(keys), *short]))
    for one, other in scans:
        picks = picks[(picks < one) | (picks >= other)]
    spoken = np.flatnonzero(known.values)
    tries = spoken[np.linspace(0, len(spoken) - 1, TRIED, dtype=np.int64)] if len(spoken) else spoken
    return Plan(picks, tries, scans)


Name = Callable[[Raw, Recorded | None], str]


@dataclass(frozen=True)
class Index:
    """A read model that says where some events stand.

    Attributes:
        view: its name.
        name: what it keeps the signature of, from a record and the event in it.
        decodes: whether that takes the event.
    """

    view: str
    name: Name
    decodes: bool = False


def _key(raw: Raw, _: Recorded | None) -> str:
    return raw.key


def _item(_: Raw, found: Recorded | None) -> str:
    return found.event.item_id if found is not None and isinstance(found.event, InteractionRecorded) else ""


BY_KEY = Index("event_index", _key)
BY_ITEM = Index("item_index", _item, decodes=True)
"""Of interactions, whose key is the user."""


class Reading:
    """Reads the tenant's events of some keys, and tells how.

    Args:
        indexed: whether the index may be used at all.
        index: what says where to look.

    Attributes:
        ways: how every part was read so far.
    """

    def __init__(self, settings: Settings, decoder: Decoder, *, indexed: bool = True, index: Index = BY_KEY) -> None:
        self._settings = settings
        self._decoder = decoder
        self._indexed = indexed
        self._index = index
        self._known: dict[tuple[str, int, int], Signatures] = {}
        self.ways: list[Way] = []

    async def of_keys(self, ranges: Iterable[OffsetRange], keys: Collection[str]) -> list[Recorded]:
        """The events of these keys, in the order of topic, partition and offset.

        Raises:
            Invalid: a range is no part of the log as it stands.
            Incompatible: one of the events cannot be read.
            Unavailable: the brokers or the registry do not answer.
        """
        found, scans = await self.picked(ranges, keys)
        if scans:
            found += [one async for one in recorded(self._settings, self._decoder, scans, keys=frozenset(keys))]
        return sorted(found, key=lambda event: event.position)

    async def picked(
        self, ranges: Iterable[OffsetRange], keys: Collection[str]
    ) -> tuple[list[Recorded], list[OffsetRange]]:
        """The events that the index finds, and what has to be read from one end to the other for the rest.

        Args:
            keys: or whatever else the index knows events by.

        Raises:
            as `of_keys`.
        """
        keys = frozenset(keys)
        parts = [part for part in await checked(self._settings, ranges) if part.end > part.first]
        found: list[Recorded] = []
        scans: list[OffsetRange] = []
        for part, known in await self._asked(parts):
            why = known if isinstance(known, str) else await self._pick(part, known, keys, found, scans)
            if why:
                scans.append(part)
                self.ways.append(Way(part.topic, part.partition, part.first, part.end, _length(part), why=why))
        return found, scans

    async def _pick(
        self,
        part: OffsetRange,
        known: Signatures,
        keys: Collection[str],
        found: list[Recorded],
        scans: list[OffsetRange],
    ) -> str:
        """Pick what has to be looked at singly, and name what has to be scanned; why that is not done, if it is not."""
        todo = await asyncio.to_thread(plan, known, keys, part.first, part.end)
        if (len(todo.picks) + len(todo.tries)) * WORTH + todo.scanned >= _length(part):
            return "reading all is less work"
        try:
            raws = await self._picked(part, todo)
        except Invalid:
            return "the brokers have no longer all of it"  # an archive may; if not, reading says so
        mine = [raw for raw in raws.values() if raw.tenant == self._settings.tenant]
        events = await self._decoded(mine if self._index.decodes else [raw for raw in mine if raw.key in keys])
        names = {offset: self._index.name(raw, events.get(offset)) for offset, raw in raws.items()}
        if not _agrees(known, todo, names):
            return "the index is not of this log"
        picks = frozenset(todo.picks.tolist())  # what is only tried may lie in a stretch that is scanned
        found += [event for offset, event in events.items() if offset in picks and names[offset] in keys]
        scans += [_within(part, first, end) for first, end in todo.scans]
        indexed = _length(part) - len(raws) - todo.scanned
        self.ways.append(
            Way(part.topic, part.partition, part.first, part.end, todo.scanned, picked=len(raws), indexed=indexed)
        )
        return ""

    async def _decoded(self, raws: Sequence[Raw]) -> dict[int, Recorded]:
        """The events of these records, by offset; nothing of what counts for nothing."""
        await self._decoder.learn(raws)
        return {raw.offset: event for raw in raws if (event := self._decoder.decode(raw)) is not None}

    async def _asked(self, parts: Sequence[OffsetRange]) -> list[tuple[OffsetRange, Signatures | str]]:
        """What the index says of each part, or why it is not asked."""
        long = [part for part in parts if self._indexed and _length(part) > SHORTEST]
        for topic in {part.topic for part in long if _place(part) not in self._known}:
            mine = {part.partition: part for part in long if part.topic == topic}
            said = await signatures(
                self._settings, topic, {number: part.end for number, part in mine.items()}, view=self._index.view
            )
            self._known |= {_place(mine[number]): one for number, one in (said or {}).items()}
        return [(part, self._known.get(_place(part), self._silence(part))) for part in parts]

    def _silence(self, part: OffsetRange) -> str:
        if not self._indexed:
            return "everything was to be read"
        return (
            "the part is short" if _length(part) <= SHORTEST else f"the read model {self._index.view} does not answer"
        )

    async def _picked(self, part: OffsetRange, todo: Plan) -> dict[int, Raw]:
        """The records that are to be picked, by offset."""
        offsets = np.union1d(todo.picks, todo.tries).tolist()
        async with open_client(self._settings, [part.topic]) as client:
            raws = await pick(client, self._settings, part.topic, part.partition, offsets)
        return {raw.offset: raw for raw in raws}


def _length(part: OffsetRange) -> int:
    return part.end - part.first


def _place(part: OffsetRange) -> tuple[str, int, int]:
    return part.topic, part.partition, part.end


def _within(part: OffsetRange, first: int, end: int) -> OffsetRange:
    return OffsetRange(topic=part.topic, partition=part.partition, first=first, end=end)


def _agrees(known: Signatures, todo: Plan, names: Mapping[int, str]) -> bool:
    """Whether the log has, wherever it was looked at, what the index says."""
    spoken = [offset for offset in np.union1d(todo.picks, todo.tries).tolist() if known.values[offset]]
    return all(offset in names and signature(names[offset]) == known.values[offset] for offset in spoken)
