"""What a processor remembers of one partition: the last used part in memory, all of it in a snapshot."""

import asyncio
import random
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import structlog
from prometheus_client import Counter, Gauge

from commands.aggregate import Aggregate
from commands.processor.cache import Cache
from commands.processor.snapshot import Checkpoint, Damaged, Snapshot, Unwritable
from commands.protocol.log import DecidedLog
from commands.protocol.state import Answer, Identity, Last, PartitionState, Versioned
from infra.kafka.records import Decoder
from schemas.codec import Codec
from schemas.errors import Incompatible

LOOKUPS = Counter(
    "retrace_state_lookups_total",
    "Look-ups in the state of a partition: answered by memory (hit), by the snapshot (loaded), or not there (absent).",
    ["topic", "table", "result"],
)
EVICTIONS = Counter(
    "retrace_state_evictions_total", "Entries that memory let go of, because the snapshot has them.", ["topic", "table"]
)
ENTRIES = Gauge("retrace_state_entries", "Entries in memory.", ["topic", "partition", "table"])
SAVED_AT = Gauge(
    "retrace_snapshot_timestamp_seconds", "When the snapshot was last written, since 1970.", ["topic", "partition"]
)
BEHIND = Gauge("retrace_snapshot_behind_events", "Events that the snapshot does not have yet.", ["topic", "partition"])
FAULTS = Counter(
    "retrace_snapshot_faults_total", "Snapshots that were thrown away or could not be written.", ["topic", "fault"]
)

logger = structlog.get_logger()


@dataclass(frozen=True)
class Limits:
    """How much is kept.

    Attributes:
        aggregates: in memory, of one partition.
        answers: in memory, of one partition.
        snapshot_s: age at which changes are written.
    """

    aggregates: int
    answers: int
    snapshot_s: float


class Fold(PartitionState):
    """The fold of one partition over tables that look into a snapshot."""

    def __init__(self, snapshot: Snapshot, limits: Limits) -> None:
        self.aggregate_cache: Cache[Identity, Versioned] = Cache(snapshot.aggregates, limits.aggregates)
        self.answer_cache: Cache[bytes, Answer] = Cache(snapshot.answers, limits.answers)
        super().__init__(aggregates=self.aggregate_cache, answers=self.answer_cache)

    @property
    def caches(self) -> Mapping[str, Cache[Any, Any]]:
        """Both tables by name."""
        return {"aggregates": self.aggregate_cache, "answers": self.answer_cache}

    @property
    def changes(self) -> int:
        """How many entries nobody has begun to write."""
        return len(self.aggregate_cache.changed) + len(self.answer_cache.changed)

    def expect(self, identities: Collection[Identity], keys: Collection[bytes]) -> None:
        """Ask the snapshot once for all of them."""
        self.aggregate_cache.expect(identities)
        self.answer_cache.expect(keys)


class Batch(NamedTuple):
    """What is written together."""

    checkpoint: Checkpoint
    aggregates: Mapping[Identity, Versioned]
    answers: Mapping[bytes, Answer]


class Memory:
    """The fold of one partition, with a snapshot below it.

    Attributes:
        state: the fold.
        trouble: why the snapshot is not written, if it is not.
    """

    def __init__(
        self, aggregate: Aggregate[Any, Any, Any], partition: int, codec: Codec, snapshot: Snapshot, limits: Limits
    ) -> None:
        self.trouble = ""
        self._topic, self._partition = aggregate.topic, partition
        self._codec = codec
        self._snapshot = snapshot
        self._limits = limits
        self._writing: asyncio.Task[None] | None = None
        self.forget()

    def forget(self) -> None:
        """Know nothing."""
        self.state = Fold(self._snapshot, self._limits)
        # partitions that wrote at the same moment would make their commands wait at the same moment
        self._saved_at = time.monotonic() - random.random() * self._limits.snapshot_s
        self._saved_offset = 0

    async def recall(self, log: DecidedLog, decoder: Decoder) -> None:
        """Go on from the snapshot, if it tells of this log; from nothing otherwise.

        Raises:
            Unavailable: the log does not answer, or the registry does not.
        """
        self.forget()
        try:
            checkpoint = self._snapshot.checkpoint()
            last = None if checkpoint is None else await self._recognised(checkpoint, log, decoder)
        except Damaged as damage:
            await self.throw_away(str(damage))
            return
        if checkpoint is not None and last is not None:
            self.state.last, self.state.next_offset = last, last.offset + 1
            self.state.next_command = checkpoint.next_command
            self._saved_offset = self.state.next_offset
            logger.info("snapshot opened", topic=self._topic, partition=self._partition, offset=self._saved_offset)

    async def throw_away(self, cause: str) -> None:
        """Forget everything, on disk too; the log has it."""
        logger.warning("snapshot thrown away", topic=self._topic, partition=self._partition, cause=cause)
        FAULTS.labels(self._topic, "thrown_away").inc()
        await self.rest()
        self._snapshot.throw_away()
        self.forget()

    def keep(self, *, changes: int) -> None:
        """Begin to write what has changed, if it is much or has waited long; the state has to be at rest.

        Args:
            changes: how many are much.
        """
        is_old = time.monotonic() - self._saved_at >= self._limits.snapshot_s
        if self._writing is None and (self.state.changes >= changes or (is_old and self.state.changes)):
            batch = self.begin()
            self._writing = None if batch is None else asyncio.create_task(self._write(batch))

    async def rest(self) -> None:
        """Wait until nothing is being written."""
        if self._writing is not None:
            await asyncio.wait([self._writing])

    async def close(self) -> None:
        """Write what has changed and let others have the snapshot."""
        await self.rest()
        if (batch := self.begin()) is not None:
            await self._write(batch)
        self._snapshot.close()

    def begin(self) -> Batch | None:
        """What has changed, which is `save`d next; None when nothing has."""
        last = self.state.last
        if last is None or not self.state.changes:
            return None
        checkpoint = Checkpoint(self.state.next_command, last.offset, mark_of(last, self._codec))
        self._saved_at = time.monotonic()
        return Batch(checkpoint, self.state.aggregate_cache.leave(), self.state.answer_cache.leave())

    def save(self, batch: Batch) -> str:
        """Write it, in any thread; then `end` is to be told why that was not possible, or an empty text."""
        try:
            self._snapshot.save(*batch)
        except Unwritable as fault:
            return str(fault)
        return ""

    def end(self, batch: Batch, trouble: str) -> None:
        """It was written, or not."""
        if trouble:
            FAULTS.labels(self._topic, "not_written").inc()
        if trouble and trouble != self.trouble:
            logger.warning("snapshot not written", topic=self._topic, partition=self._partition, cause=trouble)
        self.trouble = trouble
        for cache in self.state.caches.values():
            if trouble:
                cache.returned()
            else:
                cache.written()
        if not trouble:
            self._saved_offset = batch.checkpoint.last_offset + 1
            SAVED_AT.labels(self._topic, self._partition).set_to_current_time()
        self._measure()

    async def _write(self, batch: Batch) -> None:
        try:
            trouble = await asyncio.to_thread(self.save, batch)
            self.end(batch, trouble)
        finally:
            self._writing = None

    async def _recognised(self, checkpoint: Checkpoint, log: DecidedLog, decoder: Decoder) -> Last:
        """The last event of the snapshot as it stands in the log.

        Raises:
            Damaged: it does not stand there.
        """
        page = await log.read(checkpoint.last_offset)
        records = page.records[:1]
        try:
            await decoder.learn(records)
            recorded = decoder.decode(records[0]) if records else None
        except Incompatible as fault:
            raise Damaged(f"the log has something else at offset {checkpoint.last_offset}: {fault}") from fault
        if recorded is None or recorded.position.offset != checkpoint.last_offset:
            raise Damaged(f"the log has no event at offset {checkpoint.last_offset}")
        last = Last(recorded.position.offset, recorded.meta.id, recorded.event)
        if mark_of(last, self._codec) != checkpoint.mark:
            raise Damaged(f"the log has another event at offset {checkpoint.last_offset}")
        return last

    def _measure(self) -> None:
        BEHIND.labels(self._topic, self._partition).set(self.state.next_offset - self._saved_offset)
        for name, cache in self.state.caches.items():
            ENTRIES.labels(self._topic, self._partition, name).set(len(cache))
            for result, number in cache.lookups().items():
                LOOKUPS.labels(self._topic, name, result).inc(number)
            EVICTIONS.labels(self._topic, name).inc(cache.evictions)
            cache.evictions = 0


def mark_of(last: Last, codec: Codec) -> bytes:
    """Hash by which an event of a log is recognised."""
    return blake2b(last.id.bytes + codec.encode(last.event), digest_size=16).digest()
