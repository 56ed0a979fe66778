"""The progress of a named upload put on record as it becomes durable."""

import time
from collections import deque
from typing import NamedTuple

import orjson

from commands.api.bulk.cut import Cutter, Start
from commands.api.bulk.digest import Digest
from commands.api.bulk.ledger import Ledger
from commands.api.bulk.progress import Progress
from commands.api.bulk.report import Report
from commands.api.request import Intent
from infra.kafka.bulk import Batch, Upload
from schemas.errors import Rejected
from schemas.uploads import UploadConfirmed

EVERY_LINES = 20_000
EVERY_S = 1.0


class Place(NamedTuple):
    """Up to here everything has been sent or refused."""

    start: Start
    sent: int
    refused: int
    problems: int


class Track:
    """Notes places, and confirms each when all that was sent up to it is durable.

    Args:
        progress: what earlier attempts confirmed.
        upload: what this attempt sends.
    """

    def __init__(
        self, ledger: Ledger, intent: Intent, upload_id: str, progress: Progress, upload: Upload, report: Report
    ) -> None:
        self._ledger = ledger
        self._intent = intent
        self._upload_id = upload_id
        self._progress = progress
        self._upload = upload
        self._report = report
        self._digest = Digest(progress.start.size_bytes, progress.digest)
        self._marked = progress.digest
        self._place = self._last = Place(progress.start, 0, report.refused, len(report.problems))
        self._noted_at = time.monotonic()
        self._waiting: deque[tuple[Batch, UploadConfirmed]] = deque()

    def passed(self, chunk: bytes, cutter: Cutter) -> None:
        """A chunk has been dealt with, up to the cutter's place."""
        self._digest.feed(chunk, cutter.offset)
        if cutter.offset > self._place.start.size_bytes:
            start = Start(cutter.offset, cutter.number, cutter.preamble)
            self._place = Place(start, self._upload.sent, self._report.refused, len(self._report.problems))
        if self._is_due and self._digest.can_go_on:
            self._waiting.append((self._upload.batch(), self._confirmation(complete=False)))

    async def settle(self) -> None:
        """Put on record what has become durable.

        Raises:
            Rejected: another attempt at the same upload has begun elsewhere.
            Unavailable: Kafka did not confirm in time.
        """
        await self._upload.room()  # where it is told what has become durable
        durable: list[UploadConfirmed] = []
        while self._waiting and not self._waiting[0][0].waiting:
            durable.append(self._waiting.popleft()[1])
        if durable:
            await self._ledger.append(self._intent, durable)
            self._still_mine()

    async def close(self, *, complete: bool) -> None:
        """Put on record the last place; everything that was sent is durable.

        Raises:
            Rejected: as `settle`.
            Unavailable: as `settle`.
        """
        await self.settle()
        if complete or self._place.start.size_bytes > self._last.start.size_bytes:
            await self._ledger.append(self._intent, [self._confirmation(complete=complete)])
            self._still_mine()

    @property
    def accepted(self) -> int:
        """Lines on record, those of earlier attempts included."""
        return self._progress.accepted + self._upload.confirmed

    @property
    def positions(self) -> list[str]:
        """Where the last record of each partition stands, those of earlier attempts included."""
        last = dict(self._progress.positions or {})
        for text in map(str, self._upload.positions):
            partition, _, offset = text.rpartition("/")
            last[partition] = max(int(offset), last.get(partition, -1))
        return [f"{partition}/{offset}" for partition, offset in sorted(last.items())]

    @property
    def _is_due(self) -> bool:
        lines = self._place.start.number - self._last.start.number
        return lines >= EVERY_LINES or (lines > 0 and time.monotonic() - self._noted_at > EVERY_S)

    def _confirmation(self, *, complete: bool) -> UploadConfirmed:
        place, last = self._place, self._last
        if place.start.size_bytes > last.start.size_bytes:
            self._marked = self._digest.mark()
        self._last, self._noted_at = place, time.monotonic()
        return UploadConfirmed(
            upload_id=self._upload_id,
            attempt=self._progress.attempt,
            size_bytes=place.start.size_bytes,
            lines=place.start.number,
            digest=self._marked.hex(),
            preamble=b"" if last.start.preamble else place.start.preamble,
            accepted=self._progress.accepted + place.sent,
            refused=place.refused,
            problems=tuple(orjson.dumps(p).decode() for p in self._report.problems[last.problems : place.problems]),
            positions=tuple(map(str, self._upload.positions)),
            complete=complete,
        )

    def _still_mine(self) -> None:
        seen = self._ledger.seen(self._intent.tenant, self._upload_id)
        if seen is not None and seen.attempt != self._progress.attempt:
            raise taken_over(self._upload_id)


def taken_over(upload_id: str) -> Rejected:
    """The same upload goes on elsewhere."""
    return Rejected(
        f"upload '{upload_id}' is being sent again, by another request: only the newest counts; ask how far it is",
        code="upload_running",
    )
