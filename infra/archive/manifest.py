"""What an archive says it holds: closed ranges of a partition, the files they are in, and who signed for it.

A manifest is written once and never changed. Each names the hash of the one before it, so a partition's manifests are
a chain that nobody can shorten in the middle.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any

from infra.kafka.fetch import name_of
from schemas.errors import Incompatible
from schemas.models import OffsetRange

FORMAT = 1


@dataclass(frozen=True)
class Kept:
    """One file.

    Attributes:
        name: in the folder of its partition.
        first, end: offsets it speaks for; some may have no record.
        records: in it.
        size_bytes: of the file.
        sha256: of the file.
        records_sha256: over the leaf hashes of its records (`infra.audit.leaf`), the same in Kafka and here.
        first_ms, last_ms: earliest and latest time stamp of its records; None when it has none.
    """

    name: str
    first: int
    end: int
    records: int
    size_bytes: int
    sha256: str
    records_sha256: str
    first_ms: int | None
    last_ms: int | None


@dataclass(frozen=True)
class Manifest:
    """Some files of one partition that follow each other.

    Attributes:
        topic: without prefix.
        topic_id: Kafka's; a topic that was made anew is another.
        schema_ids: that the values name.
        previous: hash of the manifest before it in this partition; None for the first.
    """

    topic: str
    topic_id: str
    partition: int
    first: int
    end: int
    schema_ids: tuple[int, ...]
    files: tuple[Kept, ...]
    previous: str | None

    @property
    def part(self) -> OffsetRange:
        """The range it speaks for."""
        return OffsetRange(topic=self.topic, partition=self.partition, first=self.first, end=self.end)

    @property
    def records(self) -> int:
        """In all its files."""
        return sum(file.records for file in self.files)

    @property
    def size_bytes(self) -> int:
        """Of all its files."""
        return sum(file.size_bytes for file in self.files)

    def range_of(self, file: Kept) -> OffsetRange:
        """The range that one of its files speaks for."""
        return OffsetRange(topic=self.topic, partition=self.partition, first=file.first, end=file.end)

    def message(self) -> bytes:
        """What is hashed and signed: one form for one content."""
        return json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True, separators=(",", ":")).encode()

    @property
    def sha256(self) -> str:
        """Its hash, which the next one names."""
        return sha256(self.message()).hexdigest()


@dataclass(frozen=True)
class Signed:
    """A manifest and the signature under it.

    Attributes:
        key_id: of the notary's key.
        signature: Ed25519 over `Manifest.message()`.
    """

    manifest: Manifest
    key_id: str
    signature: bytes

    def as_bytes(self) -> bytes:
        """As a file, for people too."""
        said = {
            "manifest": {"format": FORMAT, **asdict(self.manifest)},
            "key_id": self.key_id,
            "signature": self.signature.hex(),
        }
        return (json.dumps(said, indent=2) + "\n").encode()


def read_signed(data: bytes, where: str) -> Signed:
    """A manifest from its file.

    Raises:
        Incompatible: it is none; the message names `where`.
    """
    try:
        said = json.loads(data)
        return Signed(_manifest(said["manifest"]), str(said["key_id"]), bytes.fromhex(said["signature"]))
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise Incompatible(
            f"the archive's manifest {where} is damaged ({fault}): put it back from a copy", code="archive_damaged"
        ) from fault


def _manifest(said: Mapping[str, Any]) -> Manifest:
    if said["format"] != FORMAT:
        raise ValueError(f"format {said['format']} is not {FORMAT}")
    fields = {name: value for name, value in said.items() if name != "format"}
    fields["files"] = tuple(Kept(**file) for file in said["files"])
    fields["schema_ids"] = tuple(said["schema_ids"])
    manifest = Manifest(**fields)
    _check(manifest)
    return manifest


def _check(manifest: Manifest) -> None:
    at = manifest.first
    for file in manifest.files:
        if file.first != at or file.end <= at:
            raise ValueError(f"{file.name} does not begin at {at}")
        at = file.end
    if at != manifest.end:
        raise ValueError(f"its files end at {at}, and it says {name_of(manifest.part)}")
