"""An archive held against its signed manifests, and against Kafka where that still has the same records."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise

import pyarrow as pa

from infra.archive.manifest import Kept, Manifest, Signed
from infra.archive.reading import holdings
from infra.archive.store import Store
from infra.archive.table import rows_of
from infra.audit.keys import public_keys
from infra.audit.leaf import leaf_of, leaves_of
from infra.kafka.fetch import fetch, name_of, open_client
from infra.kafka.identity import topic_ids
from infra.kafka.ranges import kafka_ranges
from infra.settings import Settings
from schemas.errors import Incompatible, NotFound, Problem
from schemas.models import OffsetRange

Passed = Callable[[int], None]


@dataclass
class Checked:
    """What came of one partition.

    Attributes:
        part: from its first archived offset to its last; None when its manifests cannot be read.
        compared: records that were compared with Kafka's.
        faults: one sentence each.
    """

    topic: str
    partition: int
    part: OffsetRange | None = None
    files: int = 0
    records: int = 0
    size_bytes: int = 0
    compared: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


async def verify(
    settings: Settings, topics: Sequence[str], passed: Passed, *, against_log: bool = False
) -> list[Checked]:
    """Read everything again: signatures, hashes of files, hashes of records, and that nothing is missing in between.

    Args:
        topics: all that are archived when empty.
        passed: called with the number of offsets that lie behind.
        against_log: whether to compare with the records that Kafka still has.

    Raises:
        NotFound: nothing of these topics is archived.
        Unavailable: archive or brokers do not answer.
    """
    store = Store(settings)
    places = [place for place in await asyncio.to_thread(store.topics) if not topics or place[0] in topics]
    if missing := sorted(set(topics) - {topic for topic, _ in places}):
        raise NotFound(f"the archive at {store.url} holds nothing of {', '.join(missing)}", code="not_archived")
    found = [await _partition(settings, store, *place, passed) for place in places]
    if against_log and places:
        await _compare(settings, store, found)
    return found


async def _partition(settings: Settings, store: Store, topic: str, partition: int, passed: Passed) -> Checked:
    checked = Checked(topic, partition)
    try:
        signed = await asyncio.to_thread(store.manifests, topic, partition)
    except Incompatible as fault:
        checked.faults.append(fault.detail)
        return checked
    if not signed:
        return checked
    first, end = signed[0].manifest.first, signed[-1].manifest.end
    checked.part = OffsetRange(topic=topic, partition=partition, first=first, end=end)
    checked.faults += _about_chain(settings, signed)
    for manifest in (one.manifest for one in signed):
        for file in manifest.files:
            await asyncio.to_thread(_file, store, manifest, file, checked)
            passed(file.end - file.first)
    return checked


def _about_chain(settings: Settings, signed: Sequence[Signed]) -> list[str]:
    faults = []
    runs = holdings(signed)
    for one, other in pairwise(runs):
        gap = OffsetRange(
            topic=one.manifests[0].topic, partition=one.manifests[0].partition, first=one.end, end=other.first
        )
        faults.append(f"{name_of(gap)} is not archived: Kafka had deleted it before the archiver came")
    if not public_keys(settings):
        faults.append(
            "the signatures were not checked: no public key of the notary is here; put them into "
            f"{settings.notary_public_keys}"
        )
    return faults


def _file(store: Store, manifest: Manifest, file: Kept, checked: Checked) -> None:
    try:
        table = store.read(manifest, file)
    except Incompatible as fault:
        checked.faults.append(fault.detail)
        return
    hashed = sha256()
    for row in rows_of(table):
        hashed.update(leaf_of(*row))
    if hashed.hexdigest() != file.records_sha256 or not _fits(table, file):
        checked.faults.append(f"{file.name} holds other records than {name_of(manifest.range_of(file))} had")
    checked.files += 1
    checked.records += len(table)
    checked.size_bytes += file.size_bytes


def _fits(table: pa.Table, file: Kept) -> bool:
    """Whether the offsets are those of the file, each once and in order."""
    offsets = table["offset"].to_numpy()
    inside = not len(offsets) or (offsets[0] >= file.first and offsets[-1] < file.end)
    return len(table) == file.records and bool(inside) and bool((offsets[1:] > offsets[:-1]).all())


async def _compare(settings: Settings, store: Store, found: Sequence[Checked]) -> None:
    """The records of every file that Kafka still has whole, hashed as they stand there."""
    topics = sorted({one.topic for one in found if one.part is not None})
    there = {(part.topic, part.partition): part for part in await kafka_ranges(settings, topics)}
    ids = await topic_ids(settings, topics)
    for checked in found:
        log = there.get((checked.topic, checked.partition))
        if checked.part is None or log is None:
            continue
        for one in await asyncio.to_thread(store.manifests, checked.topic, checked.partition):
            manifest = one.manifest
            if manifest.topic_id != ids[checked.topic]:
                checked.faults.append(f"{name_of(manifest.part)} is of another topic {checked.topic} than Kafka's")
                break
            files = [file for file in manifest.files if file.first >= log.first and file.end <= log.end]
            for file in files:
                await _compare_file(settings, manifest, file, checked)


async def _compare_file(settings: Settings, manifest: Manifest, file: Kept, checked: Checked) -> None:
    part, hashed, records = manifest.range_of(file), sha256(), 0
    try:
        async with (
            open_client(settings, [part.topic]) as client,
            aclosing(fetch(client, settings, [part])) as answers,
        ):
            async for fetched in answers:
                leaves = leaves_of(fetched.blocks, part.first, part.end)
                records += len(leaves)
                for leaf in leaves.hashes:
                    hashed.update(leaf)
    except Problem as problem:
        if problem.retriable:
            raise
        checked.faults.append(f"Kafka's records of {name_of(part)} cannot be compared: {problem.detail}")
        return
    checked.compared += records
    if hashed.hexdigest() != file.records_sha256:
        checked.faults.append(f"Kafka has other records in {name_of(part)} than the archive: one of them was changed")
