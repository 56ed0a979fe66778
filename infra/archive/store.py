"""The folder of an archive, on whatever fsspec reaches: Parquet files and manifests in `<topic>/<partition>/`."""

import hashlib
import io
import os
import uuid
from collections.abc import Sequence
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from cryptography.exceptions import InvalidSignature
from fsspec.implementations.local import LocalFileSystem

from infra.archive.manifest import Kept, Manifest, Signed, read_signed
from infra.archive.table import SCHEMA
from infra.audit.keys import PublicKeys, public_keys
from infra.kafka.fetch import name_of
from infra.kafka.topics import physical
from infra.settings import Settings
from schemas.errors import Incompatible, Rejected, Unavailable

REMEDY = "put it back from a copy; `retrace archive verify` checks all files"


class Store:
    """Reads and writes an archive. Its methods block; in an event loop call them in a thread.

    Whatever is read is checked first: a manifest against its signature, a file against its manifest.
    """

    def __init__(self, settings: Settings) -> None:
        self.url = settings.archive_url.rstrip("/")
        self._settings = settings
        self._fs, self._root = fsspec.core.url_to_fs(self.url)

    def topics(self) -> list[tuple[str, int]]:
        """Topics (without prefix) and partitions of which it holds something.

        Raises:
            Unavailable: it cannot be read.
        """
        prefix = self._settings.topic_prefix
        found = []
        for topic in self._names(self._root):
            if topic.startswith(prefix):
                folder = f"{self._root}/{topic}"
                found += [(topic.removeprefix(prefix), int(n)) for n in self._names(folder) if n.isdecimal()]
        return sorted(found)

    def manifests(self, topic: str, partition: int) -> list[Signed]:
        """What it says of a partition, in the order of the log.

        Raises:
            Incompatible: a manifest is damaged, not signed by us, or does not follow the one before.
            Unavailable: it cannot be read.
        """
        folder = self._folder(topic, partition)
        names = sorted(name for name in self._names(folder) if name.endswith(".json"))
        found = [self._manifest(f"{folder}/{name}", topic, partition) for name in names]
        found.sort(key=lambda one: one.manifest.first)
        _check_chain(found, self.url)
        return found

    def read(self, manifest: Manifest, file: Kept) -> pa.Table:
        """The records of a file, with the columns of `infra.archive.table.SCHEMA`.

        Raises:
            Incompatible: it is missing, cut short or changed; the message names it and its range.
            Unavailable: the archive cannot be read.
        """
        path = f"{self._folder(manifest.topic, manifest.partition)}/{file.name}"
        told = f"the archive's file {path}, which holds {name_of(manifest.range_of(file))},"
        try:
            data: bytes = self._fs.cat_file(path)
        except FileNotFoundError as fault:
            raise Incompatible(f"{told} is missing: {REMEDY}", code="archive_missing") from fault
        except OSError as fault:
            raise Unavailable(f"the archive at {self.url} cannot be read: {fault}") from fault
        if len(data) != file.size_bytes:
            raise Incompatible(
                f"{told} has {len(data)} bytes and should have {file.size_bytes}: {REMEDY}", code="archive_damaged"
            )
        if hashlib.sha256(data).hexdigest() != file.sha256:
            raise Incompatible(f"{told} was changed: {REMEDY}", code="archive_damaged")
        return pq.read_table(io.BytesIO(data), schema=SCHEMA)

    def salvaged(self, manifest: Manifest, file: Kept) -> pa.Table | None:
        """What can still be read of a file that is not the one it was, for an audit; None when that is nothing.

        Raises:
            Unavailable: the archive cannot be read.
        """
        try:
            data: bytes = self._fs.cat_file(f"{self._folder(manifest.topic, manifest.partition)}/{file.name}")
            return pq.read_table(io.BytesIO(data), schema=SCHEMA)
        except (FileNotFoundError, pa.ArrowException):
            return None
        except OSError as fault:
            raise Unavailable(f"the archive at {self.url} cannot be read: {fault}") from fault

    def write(self, topic: str, partition: int, name: str, data: bytes) -> None:
        """Put a file there, whole; one of that name is replaced, as long as no manifest speaks of it.

        Raises:
            Unavailable: the archive cannot be written.
        """
        self._put(f"{self._folder(topic, partition)}/{name}", data)

    def sign(self, signed: Signed) -> None:
        """Put a manifest there: from now on its range is archived.

        Raises:
            Rejected: there is one that begins at the same offset.
            Unavailable: the archive cannot be written.
        """
        manifest = signed.manifest
        path = f"{self._folder(manifest.topic, manifest.partition)}/{manifest.first:020}.json"
        try:
            self._put(path, signed.as_bytes(), new=True)
        except FileExistsError as fault:
            raise Rejected(
                f"{path} is there already: somebody else archives this partition; wait, and begin again",
                code="archive_busy",
            ) from fault

    def _manifest(self, path: str, topic: str, partition: int) -> Signed:
        try:
            signed = read_signed(self._fs.cat_file(path), path)
        except OSError as fault:
            raise Unavailable(f"the archive at {self.url} cannot be read: {fault}") from fault
        if (signed.manifest.topic, signed.manifest.partition) != (topic, partition):
            raise Incompatible(
                f"the archive's manifest {path} is of another partition: {REMEDY}", code="archive_damaged"
            )
        _check_signature(signed, path, public_keys(self._settings))
        return signed

    def _put(self, path: str, data: bytes, *, new: bool = False) -> None:
        aside = f"{path}.{os.getpid()}.{uuid.uuid4().hex}.part"
        try:
            self._fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            if not isinstance(self._fs, LocalFileSystem):
                self._fs.pipe_file(path, data, mode="create" if new else "overwrite")
                return
            with open(aside, "wb") as file:  # noqa: PTH123 - a path of fsspec
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if new:
                os.link(aside, path)
                os.unlink(aside)  # noqa: PTH108 - as above
            else:
                os.replace(aside, path)  # noqa: PTH105 - as above
        except FileExistsError:
            self._fs.rm_file(aside)
            raise
        except OSError as fault:
            raise Unavailable(f"the archive at {self.url} cannot be written: {fault}") from fault

    def _names(self, folder: str) -> list[str]:
        try:
            entries: list[Any] = self._fs.ls(folder, detail=False, refresh=True)
        except FileNotFoundError:
            return []
        except OSError as fault:
            raise Unavailable(f"the archive at {self.url} cannot be read: {fault}") from fault
        return sorted(str(entry).rstrip("/").rsplit("/", 1)[1] for entry in entries)

    def _folder(self, topic: str, partition: int) -> str:
        return f"{self._root}/{physical(self._settings, topic)}/{partition}"


def _check_signature(signed: Signed, path: str, keys: PublicKeys) -> None:
    """Whether we signed it. Where no public key is at hand, only hashes are checked."""
    if not keys:
        return
    key = keys.get(signed.key_id)
    if key is None:
        raise Incompatible(
            f"the archive's manifest {path} is signed by key {signed.key_id}, which is none of ours: put "
            "its public key into the notary's folder of public keys, or the manifest back from a copy",
            code="archive_not_signed",
        )
    try:
        key.verify(signed.signature, signed.manifest.message())
    except InvalidSignature as fault:
        raise Incompatible(
            f"the archive's manifest {path} is not what key {signed.key_id} signed: it was changed; {REMEDY}",
            code="archive_not_signed",
        ) from fault


def _check_chain(found: Sequence[Signed], url: str) -> None:
    before: Manifest | None = None
    for one in (signed.manifest for signed in found):
        if before is not None and one.first < before.end:
            raise Incompatible(
                f"the archive at {url} holds {name_of(one.part)} twice: remove the copy that was added",
                code="archive_damaged",
            )
        linked = before.sha256 if before is not None else None
        if one.previous != linked:
            raise Incompatible(
                f"the archive at {url} lacks the manifest before {name_of(one.part)}: {REMEDY}",
                code="archive_missing",
            )
        before = one
