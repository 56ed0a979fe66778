"""The archive as the beginning of the log: which offsets it has, and what stands there."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from infra.archive.manifest import Kept, Manifest, Signed
from infra.archive.store import Store
from infra.archive.table import Unpacked
from infra.kafka.identity import topic_ids
from infra.kafka.topics import physical
from infra.settings import Settings
from schemas.errors import Incompatible
from schemas.models import OffsetRange


@dataclass(frozen=True)
class Holding:
    """What an archive has of one partition, without gaps.

    Attributes:
        manifests: that follow each other, in order.
    """

    manifests: Sequence[Manifest]

    @property
    def first(self) -> int:
        """Its first offset."""
        return self.manifests[0].first

    @property
    def end(self) -> int:
        """The offset behind its last."""
        return self.manifests[-1].end

    def files(self, first: int, end: int) -> Iterator[tuple[Manifest, Kept]]:
        """The files that hold offsets from `first` on and before `end`."""
        for manifest in self.manifests:
            for file in manifest.files:
                if file.end > first and file.first < end:
                    yield manifest, file


def holdings(signed: Sequence[Signed]) -> list[Holding]:
    """The manifests of a partition, parted where something is missing between them."""
    runs: list[list[Manifest]] = []
    for one in (entry.manifest for entry in signed):
        if runs and runs[-1][-1].end == one.first:
            runs[-1].append(one)
        else:
            runs.append([one])
    return [Holding(run) for run in runs]


async def holdings_of(settings: Settings, topic: str, partition: int) -> list[Holding]:
    """All that the archive has of a partition.

    Raises:
        Incompatible, Unavailable: as `holding_at`.
    """
    found = holdings(await asyncio.to_thread(Store(settings).manifests, topic, partition))
    for one in found:
        await _same_topic(settings, one)
    return found


async def holding_at(settings: Settings, topic: str, partition: int, offset: int) -> Holding | None:
    """What the archive has around an offset (which may be the one behind its last); None when that is nothing.

    Raises:
        Incompatible: a manifest is damaged, or is of another topic of that name.
        Unavailable: archive or brokers do not answer.
    """
    signed = await asyncio.to_thread(Store(settings).manifests, topic, partition)
    found = next((one for one in holdings(signed) if one.first <= offset <= one.end), None)
    if found is not None:
        await _same_topic(settings, found)
    return found


async def kept(settings: Settings, part: OffsetRange) -> AsyncGenerator[tuple[Unpacked, int], None]:
    """What the archive has from the beginning of a part on, file by file, with the offset where the next begins.

    Nothing when it does not have the first offset; it may end before the part does.

    Raises:
        Incompatible: a file or manifest is missing, cut short or changed.
        Unavailable: archive or brokers do not answer.
    """
    holding = await holding_at(settings, part.topic, part.partition, part.first)
    if holding is None:
        return
    store = Store(settings)
    files = list(holding.files(part.first, part.end))
    ahead = [asyncio.create_task(asyncio.to_thread(store.read, *one)) for one in files[:1]]
    try:
        for place, (_, file) in enumerate(files):
            table = await ahead.pop()
            ahead += [asyncio.create_task(asyncio.to_thread(store.read, *one)) for one in files[place + 1 : place + 2]]
            yield Unpacked(table), min(file.end, part.end)
    finally:
        for task in ahead:
            task.cancel()
        await asyncio.gather(*ahead, return_exceptions=True)


async def first_since(settings: Settings, holding: Holding, stamp_ms: int) -> int | None:
    """The first offset in the archive with this time stamp or a later one; None when all are earlier.

    Raises:
        Incompatible, Unavailable: as `kept`.
    """
    for manifest, file in holding.files(holding.first, holding.end):
        if file.last_ms is not None and file.last_ms >= stamp_ms:
            table = await asyncio.to_thread(Store(settings).read, manifest, file)
            late = pc.greater_equal(table["timestamp"].cast(pa.int64()), stamp_ms)
            return int(table["offset"].filter(late)[0].as_py())
    return None


async def _same_topic(settings: Settings, holding: Holding) -> None:
    topic = holding.manifests[-1].topic
    place = (settings.kafka.bootstrap, physical(settings, topic))
    if place not in _KNOWN:
        _KNOWN[place] = (await topic_ids(settings, [topic]))[topic]
    if strange := [one for one in holding.manifests if one.topic_id != _KNOWN[place]]:
        raise Incompatible(
            f"the archive holds another topic {topic}: it was archived as {strange[0].topic_id} and Kafka's is "
            f"{_KNOWN[place]}; name the archive of this one in RETRACE_ARCHIVE",
            code="archive_of_other_topic",
        )


_KNOWN: dict[tuple[str, str], str] = {}
"""Ids of topics on the brokers, which never change: a topic that was made anew begins at offset 0, in Kafka."""
