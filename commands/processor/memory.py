"""What a processor remembers of one partition: the last used part in memory, all of it in a snapshot."""

import time
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

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

MANY_CHANGES = 1000
"""So many are written at once, however young they are; it takes milliseconds, in which nothing is decided."""

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
        self.forget()

    def forget(self) -> None:
        """Know nothing."""
        self._aggregates: Cache[Identity, Versioned] = Cache(self._snapshot.aggregate, self._limits.aggregates)
        self._answers: Cache[bytes, Answer] = Cache(self._snapshot.answer, self._limits.answers)
        self.state = PartitionState(aggregates=self._aggregates, answers=self._answers)
        self._saved_at = time.monotonic()
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
            self.throw_away(str(damage))
            return
        if checkpoint is not None and last is not None:
            self.state.last, self.state.next_offset = last, last.offset + 1
            self.state.next_command = checkpoint.next_command
            self._saved_offset = self.state.next_offset
            logger.info("snapshot opened", topic=self._topic, partition=self._partition, offset=self._saved_offset)

    def throw_away(self, cause: str) -> None:
        """Forget everything, on disk too; the log has it."""
        logger.warning("snapshot thrown away", topic=self._topic, partition=self._partition, cause=cause)
        FAULTS.labels(self._topic, "thrown_away").inc()
        try:
            self._snapshot.throw_away()
        except Damaged as damage:
            self._snapshot.do_without(str(damage))
        self.forget()

    def keep(self, *, changes: int = MANY_CHANGES) -> bool:
        """Write what has changed, if it is much or has waited long; the state has to be at rest.

        Args:
            changes: how many are much.

        Returns:
            Whether something was written.
        """
        waiting = len(self._aggregates.changed) + len(self._answers.changed)
        if not waiting or (waiting < changes and time.monotonic() - self._saved_at < self._limits.snapshot_s):
            return False
        return self.save()

    def save(self) -> bool:
        """Write what has changed; True when that was possible."""
        self._saved_at = time.monotonic()
        if self.state.last is not None:
            try:
                self._snapshot.save(self._checkpoint(self.state.last), self._aggregates.changed, self._answers.changed)
            except Unwritable as fault:
                self._complain(str(fault))
            else:
                self.trouble = ""
                self._aggregates.written()
                self._answers.written()
                self._saved_offset = self.state.next_offset
                SAVED_AT.labels(self._topic, self._partition).set_to_current_time()
        self._measure()
        return not self.trouble

    def settle(self) -> None:
        """Let the disk have what was saved; to be called from any thread."""
        self._snapshot.settle()

    def close(self) -> None:
        """Let others have the snapshot."""
        self._snapshot.close()

    def _complain(self, trouble: str) -> None:
        if trouble != self.trouble:
            logger.warning("snapshot not written", topic=self._topic, partition=self._partition, cause=trouble)
        self.trouble = trouble
        FAULTS.labels(self._topic, "not_written").inc()

    def _checkpoint(self, last: Last) -> Checkpoint:
        return Checkpoint(self.state.next_command, last.offset, mark_of(last, self._codec))

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
        for name, cache in (("aggregates", self._aggregates), ("answers", self._answers)):
            ENTRIES.labels(self._topic, self._partition, name).set(len(cache))
            for result, number in cache.lookups().items():
                LOOKUPS.labels(self._topic, name, result).inc(number)
            EVICTIONS.labels(self._topic, name).inc(cache.evictions)
            cache.evictions = 0


def mark_of(last: Last, codec: Codec) -> bytes:
    """Hash by which an event of a log is recognised."""
    return blake2b(last.id.bytes + codec.encode(last.event), digest_size=16).digest()
