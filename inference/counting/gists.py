"""The gists of parts of the log: kept ones of closed pieces where there are any, the rest read from the log.

What is kept is believed when it is whole, and when the last event of each piece stands in the log where it should: a
piece that is damaged, missing or of another log is read again.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa

from inference.counting.gist import TYPES, Gist, Rows
from inference.counting.kept import Kept
from infra.kafka.fetch import open_client
from infra.kafka.pick import pick
from infra.kafka.ranges import checked, sliced
from infra.kafka.records import Decoder
from infra.kafka.replay import replay
from infra.settings import Settings
from schemas.errors import Invalid
from schemas.models import OffsetRange

SIZE = 1 << 16
"""Offsets of a piece."""

AT_ONCE = 4
"""Pieces that are read before their gists are made."""


@dataclass(frozen=True, eq=False)
class Told:
    """A part of the log, boiled down.

    Attributes:
        gists: one after another.
        read: offsets that were read from the log; those before were kept.
    """

    part: OffsetRange
    gists: tuple[Gist, ...]
    read: int


class Gists:
    """Finds the gists of the topics `interactions` and `profiles`."""

    def __init__(self, settings: Settings, decoder: Decoder) -> None:
        self._settings, self._decoder = settings, decoder
        self._kept = Kept(settings, "histories", ".arrow")

    async def of(self, ranges: Sequence[OffsetRange], *, kept: bool = True) -> list[Told]:
        """What happened in these ranges; whole pieces that had to be read are kept.

        Args:
            kept: whether pieces may be kept, and those that were kept before are believed.

        Raises:
            Invalid: a range is no part of the log as it stands.
            Incompatible: an event cannot be read.
            Unavailable: the brokers or the registry do not answer.
        """
        return [await self._part(part, kept) for part in await checked(self._settings, ranges)]

    async def keep(self, part: OffsetRange) -> int:
        """See that the closed pieces of a part are kept; those that lie there are not looked at. Raises as `of`.

        Returns:
            where the first piece begins that is not closed yet.
        """
        for piece in filter(_whole, _pieces(part)):
            if not await asyncio.to_thread(self._kept.has, *_place(piece)):
                await self._read([piece], kept=True)
        return part.end - part.end % SIZE

    async def _part(self, part: OffsetRange, kept: bool) -> Told:
        found = await self._believed(part) if kept else {}
        missing = [piece for piece in _pieces(part) if piece.first not in found]
        for at in range(0, len(missing), AT_ONCE):
            found |= await self._read(missing[at : at + AT_ONCE], kept=kept)
        read = sum(piece.end - piece.first for piece in missing)
        return Told(part, tuple(found[first] for first in sorted(found)), read)

    async def _believed(self, part: OffsetRange) -> dict[int, Gist]:
        """The kept gists of a part that are whole and of this log, by their first offset."""
        found = await asyncio.to_thread(self._got, part)
        stand = await standing(self._settings, part, [gist.last for gist in found.values()])
        return {first: gist for (first, gist), stands in zip(found.items(), stand, strict=True) if stands}

    def _got(self, part: OffsetRange) -> dict[int, Gist]:
        found: dict[int, Gist] = {}
        for piece in filter(_whole, _pieces(part)):
            content = self._kept.get(*_place(piece))
            with suppress(pa.ArrowInvalid, ValueError, KeyError):
                if content is not None and (gist := Gist.parse(content)).last is not None:
                    found[piece.first] = gist
        return found

    async def _read(self, pieces: Sequence[OffsetRange], *, kept: bool) -> dict[int, Gist]:
        """The gists of pieces of one partition, made from the log."""
        topic, rows = pieces[0].topic, Rows(pieces[0].topic, SIZE)
        async for tables in replay(self._settings, self._decoder, pieces, types=TYPES[topic]):
            await asyncio.to_thread(rows.add, tables)
        return await asyncio.to_thread(self._made, rows, pieces, kept)

    def _made(self, rows: Rows, pieces: Sequence[OffsetRange], kept: bool) -> dict[int, Gist]:
        gists = rows.gists(pieces)
        for piece, gist in zip(pieces, gists, strict=True):
            if kept and _whole(piece) and gist.last is not None:
                self._kept.put(*_place(piece), gist.dump())
        return {piece.first: gist for piece, gist in zip(pieces, gists, strict=True)}


async def standing(settings: Settings, part: OffsetRange, last: Sequence[tuple[int, str] | None]) -> list[bool]:
    """Which pieces of a part were made from this log: their last events stand there.

    Args:
        last: offset and id of the last event of each; a piece without any is not doubted.

    Raises:
        Unavailable: the brokers do not answer.
    """
    offsets = [one[0] for one in last if one is not None and one[0] < part.end]
    if not offsets:
        return [one is None for one in last]
    try:
        async with open_client(settings, [part.topic]) as client:
            raws = await pick(client, settings, part.topic, part.partition, offsets)
    except Invalid:
        return [False] * len(last)  # the brokers have no longer all of it
    ids = {raw.offset: raw.header("ce_id").decode() for raw in raws}
    return [one is None or ids.get(one[0]) == one[1] for one in last]


def _pieces(part: OffsetRange) -> list[OffsetRange]:
    return list(sliced([part], SIZE))


def _whole(piece: OffsetRange) -> bool:
    return piece.end - piece.first == SIZE


def _place(piece: OffsetRange) -> tuple[str, int]:
    return f"{piece.topic}/{piece.partition}", piece.first // SIZE
