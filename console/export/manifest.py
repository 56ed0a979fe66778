"""What a replay says about what it wrote: which part of the log, which events, which files."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from console.export.journal import Job

FORMAT = 2
"""1 had one file for each type."""


@dataclass(frozen=True)
class Written:
    """One file.

    Attributes:
        path: relative to the manifest.
        type: full name of its events; None when it holds several types.
        first, end: offsets of the partition that it is of; None when it is of several partitions.
        content_sha256: over the rows, the same whatever the file's own bytes are; None for what has no columns.
    """

    path: str
    rows: int
    bytes: int
    sha256: str
    type: str | None = None
    topic: str | None = None
    partition: int | None = None
    first: int | None = None
    end: int | None = None
    content_sha256: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What was written.

    Attributes:
        types: events by full name.
        schema_ids: of the writers, as the registry has them.
        keys: of those that were asked for, the ones that some event had.
    """

    files: Sequence[Written]
    types: Mapping[str, int]
    schema_ids: Sequence[int]
    keys: Sequence[str]

    @property
    def events(self) -> int:
        """All of them."""
        return sum(self.types.values())

    @property
    def sha256(self) -> str:
        """Hash over all files: their names, sizes and hashes."""
        return digest_of(self.files)


def digest_of(files: Iterable[Written]) -> str:
    """Hash over the names, sizes and hashes of files."""
    said = sorted([file.path, file.rows, file.bytes, file.sha256] for file in files)
    return hashlib.sha256(json.dumps(said, separators=(",", ":")).encode()).hexdigest()


def manifest_of(job: Job, outcome: Outcome) -> dict[str, Any]:
    """For people and other programs. It names no clock and no machine: the same replay gives the same."""
    asked = job.asked
    return {
        "format": FORMAT,
        "written_as": asked["format"],
        "tenant": asked["tenant"],
        "asked": dict(asked),
        "topic_ids": dict(job.topic_ids),
        "ranges": [asdict(part) for part in job.ranges],
        "filters": {"types": asked["types"], "keys": asked["keys"]},
        "schema_ids": sorted(outcome.schema_ids),
        "events": outcome.events,
        "types": dict(sorted(outcome.types.items())),
        "files": [asdict(file) for file in outcome.files],
        "sha256": outcome.sha256,
    }


def as_bytes(manifest: Mapping[str, Any]) -> bytes:
    """A manifest as a file."""
    return (json.dumps(manifest, indent=2) + "\n").encode()


def sha256_of(path: Path) -> str:
    """Hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
