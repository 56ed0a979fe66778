"""Archiving: what Kafka has and the archive does not, as files, and a signed manifest behind them.

A file is written before the manifest that names it, and a manifest once, so an archiver that is killed leaves nothing
that anybody would read. The next one writes those files again.
"""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from aiokafka import AIOKafkaClient
from aiokafka.record.default_records import DefaultRecordBatch

from infra.archive.manifest import Kept, Manifest, Signed
from infra.archive.store import Store
from infra.archive.table import SCHEMA, Row, table_of
from infra.audit import keys
from infra.audit.leaf import leaves_of
from infra.kafka.block import Block
from infra.kafka.fetch import Fetched, fetch, open_client, rest_of
from infra.kafka.identity import topic_ids
from infra.settings import Settings
from schemas.codec import schema_id_of
from schemas.errors import Incompatible
from schemas.models import OffsetRange

FILE_RECORDS = 1 << 16
FILE_BYTES = 32 << 20
"""Of keys, values and headers, before they are compressed: a file ends behind the batch that reaches either."""
FILES_IN_MANIFEST = 64
"""After so many files they are signed for, so that a kill costs no more."""

DICTIONARIES = ["key", "headers.list.element.name"]
"""Columns of few different values."""

Passed = Callable[[int], None]


@dataclass(frozen=True)
class Archived:
    """What an archiver has done with one partition.

    Attributes:
        part: what it added; empty when there was nothing to add.
        lost: offsets between what the archive had and what Kafka still has; None when there are none.
    """

    part: OffsetRange
    records: int
    size_bytes: int
    files: int
    lost: OffsetRange | None = None


async def waiting(settings: Settings, ranges: Iterable[OffsetRange]) -> list[OffsetRange]:
    """The parts of these ranges that the archive does not have yet.

    Raises:
        Incompatible: the archive is damaged.
        Unavailable: it cannot be read.
    """
    store = Store(settings)
    return [await asyncio.to_thread(_rest, store, part) for part in ranges]


def _rest(store: Store, part: OffsetRange) -> OffsetRange:
    signed = store.manifests(part.topic, part.partition)
    first = max(signed[-1].manifest.end if signed else part.first, part.first)
    return OffsetRange(topic=part.topic, partition=part.partition, first=first, end=max(first, part.end))


class Archiver:
    """Writes an archive; one at a time for each partition.

    Args:
        passed: called with the number of offsets that lie behind.
    """

    def __init__(self, settings: Settings, passed: Passed) -> None:
        keys.prepare(settings)
        self._settings, self._passed = settings, passed
        self._store = Store(settings)
        self._signer = keys.open_signer(settings)
        keys.keep_public(settings, self._signer)

    async def archive(self, ranges: Sequence[OffsetRange]) -> AsyncIterator[Archived]:
        """Add what the archive does not have of these ranges, partition after partition.

        Raises:
            Invalid: the archive holds more than the log: it is that of another.
            Rejected: somebody else archives the same partition.
            Incompatible: the archive is of another topic of that name, or is damaged; or a batch is.
            Unavailable: Kafka or the archive does not answer.
        """
        topics = sorted({part.topic for part in ranges})
        ids = await topic_ids(self._settings, topics)
        async with open_client(self._settings, topics) as client:
            for part in ranges:
                yield await self._partition(client, part, ids[part.topic])

    async def _partition(self, client: AIOKafkaClient, part: OffsetRange, topic_id: str) -> Archived:
        signed = await asyncio.to_thread(self._store.manifests, part.topic, part.partition)
        last = signed[-1].manifest if signed else None
        if last is not None and last.topic_id != topic_id:
            raise Incompatible(
                f"the archive holds another topic {part.topic}, which was made anew since: name another folder in "
                "RETRACE_ARCHIVE",
                code="archive_of_other_topic",
            )
        rest = await asyncio.to_thread(_rest, self._store, part)
        lost = _between(last, rest)
        chain = _Chain(self._store, self._signer, topic_id, rest, last)
        if rest.end > rest.first:
            async with aclosing(fetch(client, self._settings, [rest])) as answers:
                async for fetched in answers:
                    await asyncio.to_thread(chain.take, fetched)
                    self._passed(fetched.passed)
            await asyncio.to_thread(chain.finish)
        return Archived(rest, chain.records, chain.size_bytes, chain.files, lost)


def _between(last: Manifest | None, rest: OffsetRange) -> OffsetRange | None:
    """What is neither in the archive nor in Kafka."""
    begun = last.end if last is not None else 0
    if begun >= rest.first:
        return None
    return OffsetRange(topic=rest.topic, partition=rest.partition, first=begun, end=rest.first)


class _Chain:
    """Files and manifests of one partition, one behind another."""

    def __init__(
        self, store: Store, signer: keys.Signer, topic_id: str, part: OffsetRange, last: Manifest | None
    ) -> None:
        self._store, self._signer, self._topic_id, self._part = store, signer, topic_id, part
        self._previous = last.sha256 if last is not None else None
        self._first = part.first
        self._open = _Open(part.first)
        self._kept: list[Kept] = []
        self._schema_ids: set[int] = set()
        self.records = self.size_bytes = self.files = 0

    def take(self, fetched: Fetched) -> None:
        """The next blocks."""
        for block in fetched.blocks:
            self._open.add(block, rest_of(self._part, self._first))
            if self._open.is_full:
                self._close(min(block.next_offset, self._part.end))

    def finish(self) -> None:
        """All has come."""
        if self._open.first < self._part.end:
            self._close(self._part.end)
        if self._kept:
            self._sign()

    def _close(self, end: int) -> None:
        """A file is full."""
        kept, data = self._open.closed(end)
        self._schema_ids |= self._open.schema_ids
        self._store.write(self._part.topic, self._part.partition, kept.name, data)
        self._kept.append(kept)
        self._open = _Open(end)
        self.records += kept.records
        self.size_bytes += kept.size_bytes
        self.files += 1
        if len(self._kept) >= FILES_IN_MANIFEST:
            self._sign()

    def _sign(self) -> None:
        manifest = Manifest(
            topic=self._part.topic,
            topic_id=self._topic_id,
            partition=self._part.partition,
            first=self._first,
            end=self._kept[-1].end,
            schema_ids=tuple(sorted(self._schema_ids)),
            files=tuple(self._kept),
            previous=self._previous,
        )
        self._store.sign(Signed(manifest, self._signer.key_id, self._signer.sign(manifest.message())))
        self._previous, self._first = manifest.sha256, manifest.end
        self._kept, self._schema_ids = [], set()


@dataclass
class _Open:
    """The file that is being filled."""

    first: int
    tables: list[pa.Table] = field(default_factory=list)
    hashes: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    schema_ids: set[int] = field(default_factory=set)
    records: int = 0
    size_bytes: int = 0

    @property
    def is_full(self) -> bool:
        """Whether nothing more should come in."""
        return self.records >= FILE_RECORDS or self.size_bytes >= FILE_BYTES

    def add(self, block: Block, part: OffsetRange) -> None:
        """The records of a block that stand in the range."""
        first, end = max(part.first, self.first), part.end
        table = table_of(_rows(block, first, end, self.schema_ids))
        for leaf in leaves_of([block], first, end).hashes:
            self.hashes.update(leaf)
        self.tables.append(table)
        self.records += len(table)
        self.size_bytes += table.nbytes

    def closed(self, end: int) -> tuple[Kept, bytes]:
        """The file, which speaks for everything before `end`."""
        table = pa.concat_tables(self.tables) if self.tables else SCHEMA.empty_table()
        buffer = io.BytesIO()
        pq.write_table(
            table,
            buffer,
            compression="zstd",
            use_dictionary=["key", "headers.list.element.name"],
            row_group_size=1 << 30,
        )
        data = buffer.getvalue()
        stamps = pc.min_max(table["timestamp"].cast(pa.int64())).as_py()
        return Kept(
            name=f"{self.first:020}-{end:020}.parquet",
            first=self.first,
            end=end,
            records=len(table),
            size_bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            records_sha256=self.hashes.hexdigest(),
            first_ms=stamps["min"],
            last_ms=stamps["max"],
        ), data


def _rows(block: Block, first: int, end: int, schema_ids: set[int]) -> Iterator[Row]:
    for record in DefaultRecordBatch(bytearray(block.data)):
        if first <= record.offset < end:
            _note(record.value, schema_ids)
            yield record.offset, record.timestamp, record.key, record.value, record.headers


def _note(value: bytes | None, schema_ids: set[int]) -> None:
    """Remember the schema that a value names; one that names none is archived as well."""
    try:
        schema_ids.add(schema_id_of(value))
    except Incompatible:
        return
