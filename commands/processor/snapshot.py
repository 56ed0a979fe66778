"""A fold on disk: one SQLite file for each partition, next to the log and never instead of it.

The file holds what the log said up to an offset. It is written in one transaction with that offset, read one entry at
a time, and thrown away when it is in doubt.
"""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeAlias
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
    CREATE TABLE IF NOT EXISTS aggregates (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""
AT_ONCE = 500
"""Entries of one statement: it is carried out without the interpreter's lock, which is taken between statements."""

FAULTS = (sqlite3.Error, msgspec.MsgspecError, OSError, TypeError, OverflowError, UnicodeError)


logger = structlog.get_logger()


class Damaged(Exception):
    """The file cannot be read, or does not hold what it should."""


class Unwritable(Exception):
    """The file does not take what it is given: the disk is full, or a value is of a type that cannot be written."""


def state_decoder(name: str, state_type: Any) -> "States":
    """Reads version and state of an aggregate.

    Raises:
        Incompatible: states of this type cannot be written and read.
    """
    try:
        msgspec.json.schema(state_type)  # notices what a decoder would only notice at work
        return msgspec.msgpack.Decoder(tuple[int, state_type])
    except TypeError as fault:
        raise Incompatible(
            f"the state of the aggregate '{name}' cannot be kept in a snapshot, use types that msgspec knows: {fault}",
            code="unwritable_state",
        ) from fault


States: TypeAlias = "msgspec.msgpack.Decoder[tuple[int, Any]]"


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
    """Where a file is, and whose it is until the lock is let go.

    Attributes:
        fleeting: its folder, if that is to be removed then.
    """

    path: Path
    lock: int
    fleeting: "TemporaryDirectory[str] | None" = None

    def release(self) -> None:
        """Let others have the file."""
        os.close(self.lock)
        if self.fleeting is not None:
            self.fleeting.cleanup()


def claim(folder: Path, name: str) -> Place:
    """The first file of this name that no other owner uses; a fleeting one when there is none.

    Two processes may believe that they own a partition, and the older may only be paused: files are locked for as long
    as a process lives, and the later one takes the next.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for slot in range(SLOTS):
            if (place := _locked(folder / f"{name}.{slot}.sqlite")) is not None:
                return place
        cause = f"its {SLOTS} files are in use"
    except OSError as fault:
        cause = repr(fault)
    logger.warning("snapshot will not outlive the process", name=name, cause=cause)
    return fleeting(name)


def fleeting(name: str) -> Place:
    """A file that ends with its use.

    Raises:
        OSError: there is no room for temporary files either.
    """
    folder = TemporaryDirectory(prefix="retrace-")
    place = _locked(Path(folder.name) / f"{name}.sqlite")
    assert place is not None
    return replace(place, fleeting=folder)


def _locked(path: Path) -> Place | None:
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return Place(path, lock)


class Snapshot:
    """A file that is open: one connection reads, and another writes, which may be in a thread of its own.

    Args:
        folder: of the file.
        name: of the file, as for `claim`.
        stamp: from `commands.processor.stamp`.
        states: from `state_decoder`.

    Raises:
        Damaged: by `checkpoint`, `aggregates` and `answers`, which read.
        Unwritable: by `save`.
    """

    def __init__(self, folder: Path, name: str, stamp: str, states: States) -> None:
        self._folder, self._name = folder, name
        self._stamp = stamp
        self._encoder = msgspec.msgpack.Encoder()
        self._states = states
        self._answers = msgspec.msgpack.Decoder(Answer)
        self._place: Place | None = None
        self._reader: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None
        self._is_empty = True

    def checkpoint(self) -> Checkpoint | None:
        """Claim and open the file; None when there is nothing in it yet.

        Raises:
            Damaged: what is there was made by other code, or is no such file.
            OSError: there is no room for a file.
        """
        place = self._place or claim(self._folder, self._name)
        with _damage():
            self._open(place)
            rows = self._read("SELECT stamp, next_command, last_offset, mark FROM checkpoint")
            if not rows:
                return None
            (stamp, *found), *others = rows
            if others or stamp != self._stamp:
                raise Damaged("it was made by another version of the code")
            self._is_empty = False
            return msgspec.convert(found, Checkpoint)

    def aggregates(self, identities: Collection[Identity]) -> Mapping[Identity, Versioned]:
        """Those of these aggregates that anything had happened to at the checkpoint."""
        keys = {_key(identity): identity for identity in identities}
        with _damage():
            found = self._find("aggregates", keys)
            return {keys[key]: Versioned(*self._states.decode(data)) for key, data in found}

    def answers(self, keys: Collection[bytes]) -> Mapping[bytes, Answer]:
        """First answers to those of these commands that had any."""
        with _damage():
            return {key: self._answers.decode(data) for key, data in self._find("answers", keys)}

    def save(
        self, checkpoint: Checkpoint, aggregates: Mapping[Identity, Versioned], answers: Mapping[bytes, Answer]
    ) -> None:
        """Write all of it or nothing; it outlives this process at once, and a power cut when it is done.

        To be called from any thread, once at a time.
        """
        encode = self._encoder.encode
        try:
            if self._writer is None:
                raise sqlite3.ProgrammingError("the file is not open")
            with self._writer as writer:  # a transaction
                writer.execute("DELETE FROM checkpoint")
                writer.execute("INSERT INTO checkpoint VALUES (?, ?, ?, ?)", (self._stamp, *checkpoint))
                _put(writer, "aggregates", {_key(i): encode((one.version, one.state)) for i, one in aggregates.items()})
                _put(writer, "answers", {key: encode(one) for key, one in answers.items()})
            self._is_empty = False
            writer.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except FAULTS as fault:
            raise Unwritable(f"{type(fault).__name__}: {fault}") from fault

    def throw_away(self) -> None:
        """Begin anew with an empty file; with a fleeting one where that is not possible.

        Raises:
            OSError: there is no room for temporary files either.
        """
        self._disconnect()
        self._is_empty = True
        place = self._place or claim(self._folder, self._name)
        try:
            with _damage():
                for end in ("", "-wal", "-shm", "-journal"):
                    place.path.with_name(place.path.name + end).unlink(missing_ok=True)
                self._open(place)
        except Damaged as damage:
            logger.warning("snapshot will not outlive the process", name=self._name, cause=str(damage))
            self.close()
            self._open(fleeting(self._name))

    def close(self) -> None:
        """Close the file and let others have it."""
        self._disconnect()
        place, self._place = self._place, None
        if place is not None:
            place.release()

    def _open(self, place: Place) -> None:
        self._place = place
        if self._reader is None:
            self._reader, self._writer = (sqlite3.connect(place.path, check_same_thread=False) for _ in range(2))
            self._writer.execute("PRAGMA journal_mode = WAL")
            self._writer.execute("PRAGMA synchronous = NORMAL")
            self._writer.execute("PRAGMA wal_autocheckpoint = 0")  # it is done after each transaction, outside of it
            self._writer.executescript(TABLES)

    def _disconnect(self) -> None:
        for connection in (self._reader, self._writer):
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    connection.close()
        self._reader = self._writer = None

    def _read(self, statement: str, values: Sequence[bytes] = ()) -> list[Any]:
        if self._reader is None:
            raise sqlite3.ProgrammingError("the file is not open")
        return self._reader.execute(statement, values).fetchall()

    def _find(self, table: str, keys: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
        waiting = () if self._is_empty else iter(keys)
        while some := list(islice(waiting, AT_ONCE)):
            marks = ",".join("?" * len(some))
            for key, value in self._read(f"SELECT key, value FROM {table} WHERE key IN ({marks})", some):
                yield key, _whole(key, value)


def _key(identity: Identity) -> bytes:
    return msgspec.msgpack.encode(identity)


def _put(writer: sqlite3.Connection, table: str, entries: Mapping[bytes, bytes]) -> None:
    """Put entries in the order of their keys, so that neighbours are written together."""
    waiting = iter(sorted(entries.items()))
    while some := list(islice(waiting, AT_ONCE)):
        marks = ",".join(["(?,?)"] * len(some))
        writer.execute(
            f"REPLACE INTO {table} VALUES {marks}", [part for key, data in some for part in (key, _summed(key, data))]
        )


@contextlib.contextmanager
def _damage() -> Iterator[None]:
    try:
        yield
    except FAULTS as fault:
        raise Damaged(f"{type(fault).__name__}: {fault}") from fault


def _summed(key: bytes, data: bytes) -> bytes:
    """Data with a checksum, for which it matters whose it is: SQLite notices a broken page, not a wrong bit in it."""
    return data + crc32(data, crc32(key)).to_bytes(SUM_BYTES)


def _whole(key: bytes, stored: bytes) -> bytes:
    data = stored[:-SUM_BYTES]
    if _summed(key, data) != stored:
        raise sqlite3.DatabaseError(f"the checksum of {key!r} is wrong")
    return data
