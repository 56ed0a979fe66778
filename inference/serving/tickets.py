"""How many answers a server has given, in a file that a kill -9 of the server leaves behind.

The file is memory that the operating system shares with it: a number written there costs as much as one written
anywhere, and is in the file as soon as it is written, whatever becomes of the process. (A crash of the machine may
take the last seconds: the file is flushed with every report.) Beside the number the file has a slot for every record
that waits: the sequence number and the decision's id. So what it leaves is what a server gave and did not see recorded.
"""

import fcntl
import mmap
import os
import struct
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from schemas.errors import Unavailable

MAGIC = b"RTICKET1"
HEAD = struct.Struct("<8sQI236s")
HANDED_AT = 8
SLOT = struct.Struct("<Q40s")
NUMBER = struct.Struct("<Q")
ENDING, LOST, DRAFT = ".tickets", ".lost", ".new"

Cause = Literal["shed", "refused", "died", "unknown"]
CAUSES: tuple[Cause, ...] = ("shed", "refused")


@dataclass(frozen=True, slots=True)
class Loss:
    """An answer that was given and not recorded, or not for certain."""

    sequence: int
    decision_id: str
    cause: Cause


class Tickets:
    """The count of one start of a server.

    Args:
        server: name of the server and of this start of it.
        slots: records that may wait at once.
        path: the file; memory that ends with the process when there is none.
    """

    def __init__(self, server: str, slots: int, path: Path | None = None) -> None:
        self.server = server
        self.handed = 0
        self.lost: list[Loss] = []
        self._path = path
        self._free = deque(range(slots))
        self._held: dict[int, int] = {}
        self._file = None if path is None else _claimed(path, HEAD.size + slots * SLOT.size)
        self._map = mmap.mmap(-1 if self._file is None else self._file, HEAD.size + slots * SLOT.size)
        HEAD.pack_into(self._map, 0, MAGIC, 0, slots, server.encode()[:236])
        if path is not None:
            path.with_suffix(DRAFT).rename(path)

    def next(self) -> int:
        """The next sequence number."""
        self.handed += 1
        NUMBER.pack_into(self._map, HANDED_AT, self.handed)
        return self.handed

    def hold(self, sequence: int, decision_id: str) -> int:
        """Remember an answer until it is recorded; the slot to `release` then.

        The number comes last: a slot that has one is whole.
        """
        slot = self._free.popleft()
        at = HEAD.size + slot * SLOT.size
        SLOT.pack_into(self._map, at, 0, decision_id.encode())
        NUMBER.pack_into(self._map, at, sequence)
        self._held[slot] = sequence
        return slot

    def release(self, slot: int) -> None:
        """Forget an answer: it is on record, or counted among the lost."""
        NUMBER.pack_into(self._map, HEAD.size + slot * SLOT.size, 0)
        del self._held[slot]
        self._free.append(slot)

    def lose(self, sequence: int, decision_id: str, cause: Cause) -> None:
        """Count an answer that will not be recorded."""
        self.lost.append(Loss(sequence, decision_id, cause))
        if self._path is not None:
            with self._path.with_suffix(LOST).open("ab", buffering=0) as file:
                file.write(SLOT.pack(sequence << 8 | CAUSES.index(cause), decision_id.encode()))

    @property
    def settled(self) -> int:
        """Up to which number every answer is on record or among the lost."""
        return min(self._held.values(), default=self.handed + 1) - 1

    def flush(self) -> None:
        """Bring the file to the disk, for the case that the machine ends."""
        self._map.flush()

    def close(self, *, done: bool) -> None:
        """Let go of the file; remove it when all it says is on the log. Again is without effect."""
        if self._map.closed:
            return
        self._map.close()
        if self._path is not None and self._file is not None:
            if done:
                remove(self._path)
            os.close(self._file)


@dataclass(frozen=True, slots=True)
class Left:
    """What a server that died left behind.

    Attributes:
        handed: the highest sequence number that it handed out.
        lost: answers that were shed, and those whose record was on its way.
    """

    path: Path
    server: str
    handed: int
    lost: tuple[Loss, ...]


def left_behind(folder: Path) -> Iterator[Left]:
    """What servers left that are no longer there; each is locked while the caller works on it, so that one does.

    A server holds a lock on its file as long as it lives, and no longer.
    """
    for path in sorted(folder.glob(f"*{ENDING}")):
        with suppress(FileNotFoundError, BlockingIOError):
            number = os.open(path, os.O_RDWR)
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if path.exists():  # whoever had the lock before may have removed it
                    yield _read(path)
            finally:
                os.close(number)


def remove(path: Path) -> None:
    """Forget a file; what it says is on the log."""
    path.with_suffix(LOST).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _read(path: Path) -> Left:
    data = path.read_bytes()
    if len(data) < HEAD.size or not data.startswith(MAGIC):
        raise Unavailable(f"{path} is no count of answers: look what it is, and move it away", code="bad_tickets")
    _, handed, slots, server = HEAD.unpack_from(data)
    entries = (SLOT.unpack_from(data, HEAD.size + slot * SLOT.size) for slot in range(slots))
    died = [Loss(number, id.rstrip(b"\0").decode(), "died") for number, id in entries if number]
    lost = sorted([*_lost(path), *died], key=lambda loss: loss.sequence)
    return Left(path, server.rstrip(b"\0").decode(), handed, tuple(lost))


def _lost(path: Path) -> Iterator[Loss]:
    with suppress(FileNotFoundError):
        data = path.with_suffix(LOST).read_bytes()
        for number, id in SLOT.iter_unpack(data[: len(data) - len(data) % SLOT.size]):
            yield Loss(number >> 8, id.rstrip(b"\0").decode(), CAUSES[number & 0xFF])


def _claimed(path: Path, size: int) -> int:
    """A new file of this size under a passing name, locked for as long as the process lives.

    Raises:
        Unavailable: the folder cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = os.open(path.with_suffix(DRAFT), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.posix_fallocate(number, 0, size)
    except OSError as fault:
        raise Unavailable(
            f"answers cannot be counted in {path.parent} ({fault.strerror}): free some space, or set "
            "RETRACE_RECOMMEND__TICKETS to a folder on a local disk",
            code="tickets_unwritable",
        ) from fault
    return number
