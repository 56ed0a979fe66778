"""A fold on disk: one SQLite file for each partition, next to the log and never instead of it.

The file holds what the log said up to an offset. It is written in one transaction with that offset, read one entry at
a time, and thrown away when it is in doubt.
"""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import msgspec
import structlog

from commands.protocol.state import Answer, Identity, Versioned
from schemas.errors import Incompatible

SLOTS = 8
"""Owners of one partition on one machine at the same time, each of which needs a file of its own."""

SUM_BYTES = 4

TABLES = """
    CREATE TABLE IF NOT EXISTS checkpoint (
        stamp TEXT NOT NULL, next_command INTEGER NOT NULL, last_offset INTEGER NOT NULL, mark BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS aggregates (
        tenant TEXT NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL, state BLOB NOT NULL,
        PRIMARY KEY (tenant, key)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS answers (command_id BLOB PRIMARY KEY, answer BLOB NOT NULL) WITHOUT ROWID;
"""
FAULTS = (sqlite3.Error, msgspec.MsgspecError, OSError, TypeError, OverflowError, UnicodeError)


logger = structlog.get_logger()


class Damaged(Exception):
    """The file cannot be read, or does not hold what it should."""


class Unwritable(Exception):
    """The file does not take what it is given: the disk is full, or a value is of a type that cannot be written."""


def state_decoder(name: str, state_type: Any) -> "msgspec.msgpack.Decoder[Any]":
    """Reads states of an aggregate.

    Raises:
        Incompatible: states of this type cannot be written and read.
    """
    try:
        msgspec.json.schema(state_type)  # notices what a decoder would only notice at work
        return msgspec.msgpack.Decoder(state_type)
    except TypeError as fault:
        raise Incompatible(
            f"the state of the aggregate '{name}' cannot be kept in a snapshot, use types that msgspec knows: {fault}",
            code="unwritable_state",
        ) from fault


class Checkpoint(NamedTuple):
    """Up to where the file tells what the log says.

    Attributes:
        next_command: offset of the first command that is not answered.
        last_offset: where the last event stands that is in it.
        mark: hash of that event, by which its log is recognised.
    """

    next_command: int
    last_offset: int
    mark: bytes


@dataclass(frozen=True)
class Place:
    """Where a file is, and whose it is until the lock is let go."""

    path: Path
    lock: int

    def release(self) -> None:
        """Let others have the file."""
        os.close(self.lock)


def claim(folder: Path, name: str) -> Place | None:
    """The first file of this name that no other owner uses; None when all are in use or the folder takes none.

    Two processes may believe that they own a partition, and the older may only be paused: files are locked for as long
    as a process lives, and the later one takes the next.
    """
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        for slot in range(SLOTS):
            path = folder / f"{name}.{slot}.sqlite"
            lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return Place(path, lock)
            except BlockingIOError:
                os.close(lock)
    return None


class Snapshot:
    """A file that is open.

    Args:
        place: a claimed file; None for one that lasts as long as it is open.
        stamp: from `commands.processor.stamp`.
        states: from `state_decoder`.

    Raises:
        Damaged: by `checkpoint`, `aggregate` and `answer`, which read.
        Unwritable: by `save`.
    """

    def __init__(self, place: Place | None, stamp: str, states: "msgspec.msgpack.Decoder[Any]") -> None:
        self.place = place
        self._stamp = stamp
        self._encoder = msgspec.msgpack.Encoder()
        self._states = states
        self._answers = msgspec.msgpack.Decoder(Answer)
        self._connection: sqlite3.Connection | None = None
        self._is_empty = True

    def checkpoint(self) -> Checkpoint | None:
        """Open the file; None when there is nothing in it yet.

        Raises:
            Damaged: what is there was made by other code, or is no such file.
        """
        with _damage():
            self._open()
            rows = self._db.execute("SELECT stamp, next_command, last_offset, mark FROM checkpoint").fetchall()
            if not rows:
                return None
            (stamp, *found), *others = rows
            if others or stamp != self._stamp:
                raise Damaged("it was made by another version of the code")
            self._is_empty = False
            return msgspec.convert(found, Checkpoint)

    def aggregate(self, identity: Identity) -> Versioned | None:
        """An aggregate as it was at the checkpoint."""
        if self._is_empty:
            return None
        with _damage():
            row = self._db.execute(
                "SELECT version, state FROM aggregates WHERE tenant = ? AND key = ?", identity
            ).fetchone()
            return None if row is None else Versioned(row[0], self._states.decode(_whole(row[1], row[0], *identity)))

    def answer(self, key: bytes) -> Answer | None:
        """A first answer."""
        if self._is_empty:
            return None
        with _damage():
            row = self._db.execute("SELECT answer FROM answers WHERE command_id = ?", (key,)).fetchone()
            return None if row is None else self._answers.decode(_whole(row[0], key))

    def save(
        self, checkpoint: Checkpoint, aggregates: Mapping[Identity, Versioned], answers: Mapping[bytes, Answer]
    ) -> None:
        """Write all of it or nothing; it outlives this process at once, and a power cut in time."""
        encode = self._encoder.encode
        try:
            with self._db:  # a transaction
                self._db.executemany(
                    "REPLACE INTO aggregates VALUES (?, ?, ?, ?)",
                    [
                        (*identity, one.version, _summed(encode(one.state), one.version, *identity))
                        for identity, one in aggregates.items()
                    ],
                )
                self._db.executemany(
                    "REPLACE INTO answers VALUES (?, ?)",
                    [(key, _summed(encode(one), key)) for key, one in answers.items()],
                )
                self._db.execute("DELETE FROM checkpoint")
                self._db.execute("INSERT INTO checkpoint VALUES (?, ?, ?, ?)", (self._stamp, *checkpoint))
        except FAULTS as fault:
            raise Unwritable(f"{type(fault).__name__}: {fault}") from fault
        self._is_empty = False

    def throw_away(self) -> None:
        """Begin anew with an empty file.

        Raises:
            Damaged: not even that is possible.
        """
        with _damage():
            self._disconnect()
            for path in _files(self.place):
                path.unlink(missing_ok=True)
            self._is_empty = True
            self._open()

    def do_without(self, cause: str) -> None:
        """Leave the file to others and use one that nobody else sees and that ends with this process."""
        logger.warning("snapshot does not outlive the process", cause=cause, file=self.place and self.place.path.name)
        self.close()
        self.place, self._is_empty = None, True
        self._open()

    def settle(self) -> None:
        """Let the disk have what was saved, so that a power cut costs nothing; to be called from any thread."""
        if self.place is not None:
            with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(self.place.path)) as other:
                other.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        """Close the file and let others have it."""
        self._disconnect()
        if self.place is not None:
            self.place.release()

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            raise sqlite3.ProgrammingError("the file is not open")
        return self._connection

    def _open(self) -> None:
        if self._connection is None:
            self._connection = sqlite3.connect("" if self.place is None else self.place.path)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute("PRAGMA wal_autocheckpoint = 0")  # it would hold up decisions; see `settle`
            self._db.executescript(TABLES)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()


@contextlib.contextmanager
def _damage() -> Iterator[None]:
    try:
        yield
    except FAULTS as fault:
        raise Damaged(f"{type(fault).__name__}: {fault}") from fault


def _summed(data: bytes, *key: object) -> bytes:
    """Data with a checksum, for which it matters whose it is: SQLite notices a broken page, not a wrong bit in it."""
    return data + crc32(data, crc32(repr(key).encode())).to_bytes(SUM_BYTES)


def _whole(stored: bytes, *key: object) -> bytes:
    data = stored[:-SUM_BYTES]
    if _summed(data, *key) != stored:
        raise sqlite3.DatabaseError(f"the checksum of {key} is wrong")
    return data


def _files(place: Place | None) -> list[Path]:
    if place is None:
        return []
    return [place.path, *(place.path.with_name(place.path.name + end) for end in ("-wal", "-shm", "-journal"))]
