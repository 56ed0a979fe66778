"""One file, or standard output, that a replay appends to."""

import asyncio
import hashlib
import os
import sys
import time
from collections.abc import Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import IO

from console.export.journal import Journal
from console.export.manifest import Outcome, Written
from console.export.pace import Pace
from console.export.rows import Encoder
from console.export.tally import Tally
from infra.kafka.lanes import in_order
from infra.kafka.ranges import sliced
from infra.kafka.replay import SLICE, Piece, Reader
from schemas.errors import Invalid
from schemas.models import OffsetRange

KEPT_EVERY_S = 1.0
"""How often the journal is written, at most: what lies between is done again after a kill."""


class Stream:
    """Writes slices one behind another and keeps in the journal how far it is.

    Args:
        path: of the file under its final name.
        journal: of the job; None for standard output, which cannot be continued.
    """

    def __init__(self, path: Path, encoder: Encoder, journal: Journal | None, keys: Sequence[str]) -> None:
        self._path, self._encoder, self._journal = path, encoder, journal
        self._aside = path.with_name(f"{path.name}.part")
        self._tally = Tally(keys)
        self._hash = hashlib.sha256()
        self._bytes = self._slices = 0
        self._kept = time.monotonic()

    async def write(self, reader: Reader, ranges: Sequence[OffsetRange], workers: int, pace: Pace) -> Outcome:
        """Write what is left of these ranges.

        Raises:
            Invalid: what an earlier run wrote was changed since.
            Problem: as `Reader.pieces`.
        """
        slices = list(sliced(ranges, SLICE))
        with self._opened() as file:
            pace.skip(sum(part.end - part.first for part in slices[: self._slices]))
            if self._slices <= len(slices):
                await self._rest(file, reader, slices, workers, pace)
        if self._journal is not None and self._aside.exists():
            self._aside.replace(self._path)
        written = Written(self._path.name, self._tally.types.total(), self._bytes, self._hash.hexdigest())
        return self._tally.outcome([written])

    async def _rest(
        self, file: IO[bytes], reader: Reader, slices: Sequence[OffsetRange], workers: int, pace: Pace
    ) -> None:
        if not self._bytes:
            self._append(file, self._encoder.begin())
        rest = slices[self._slices :]
        async with aclosing(in_order(rest, reader.pieces, workers)) as pieces:
            async for piece in pieces:
                await asyncio.to_thread(self._piece, file, piece, slices[self._slices].end)
                pace.passed(piece.part.end - piece.part.first)
        self._append(file, self._encoder.end())
        self._slices += 1  # the end counts as one
        self._keep(file)

    def _piece(self, file: IO[bytes], piece: Piece, slice_end: int) -> None:
        self._tally.add(piece.tables)
        self._append(file, self._encoder.encode(piece.tables))
        if piece.part.end == slice_end:
            self._slices += 1
            if time.monotonic() - self._kept >= KEPT_EVERY_S:
                self._keep(file)

    def _append(self, file: IO[bytes], data: bytes) -> None:
        file.write(data)
        self._hash.update(data)
        self._bytes += len(data)

    def _keep(self, file: IO[bytes]) -> None:
        file.flush()
        self._kept = time.monotonic()
        if self._journal is not None:
            self._journal.done = {
                "slices": self._slices,
                "bytes": self._bytes,
                "sha256": self._hash.hexdigest(),
                "tally": self._tally.as_json(),
            }
            self._journal.save()

    def _opened(self) -> IO[bytes]:
        if self._journal is None:
            return os.fdopen(os.dup(sys.stdout.fileno()), "wb")
        if not self._journal.done:
            return self._aside.open("wb")
        return self._continued(self._journal)

    def _continued(self, journal: Journal) -> IO[bytes]:
        """The file as the journal knows it; what was written behind that is written again."""
        done = journal.done
        file = self._aside if self._aside.exists() else self._path
        self._take(file, done["bytes"])
        if (self._bytes, self._hash.hexdigest()) != (done["bytes"], done["sha256"]):
            raise Invalid(
                f"{file} is not as the earlier run left it: remove it and {journal.path}, and begin again",
                code="part_changed",
            )
        self._slices = done["slices"]
        self._tally.take(done["tally"])
        os.truncate(file, self._bytes)
        return file.open("ab")

    def _take(self, file: Path, size: int) -> None:
        """Hash so many bytes of what is there."""
        with suppress(FileNotFoundError), file.open("rb") as there:
            while data := there.read(min(1 << 20, size - self._bytes)):
                self._hash.update(data)
                self._bytes += len(data)
