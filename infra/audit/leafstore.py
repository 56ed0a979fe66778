"""The leaf hashes of checkpointed ranges, kept beside the artifacts so that a changed record can be named.

A root alone tells that a range is not what it was. A file holds the offset and the leaf hash of every record of one
range, 32 bytes each, under its own hash as its name, which the signed checkpoint names: it cannot be changed unnoticed,
writing it twice does no harm, and losing it costs the names of offsets and nothing else.
"""

import struct
from collections.abc import Iterator, Sequence
from hashlib import sha256
from uuid import uuid4

import fsspec

from infra.audit.leaf import Leaves
from infra.audit.merkle import HASH_BYTES
from infra.settings import Settings
from schemas.errors import Incompatible, NotFound, Unavailable

MAGIC = b"RLF1"
HEAD = struct.Struct("<4sII")
RUN = struct.Struct("<qI")


def packed(leaves: Leaves) -> bytes:
    """A file's content: the number of runs and of records, the runs of offsets without a gap, the hashes."""
    runs = list(runs_of(leaves.offsets))
    head = HEAD.pack(MAGIC, len(runs), len(leaves))
    return head + b"".join(RUN.pack(first, count) for first, count in runs) + b"".join(leaves.hashes)


def unpacked(data: bytes) -> Leaves:
    """The leaves in a file.

    Raises:
        Incompatible: it is none, or cut short.
    """
    try:
        magic, runs, count = HEAD.unpack_from(data)
        at = HEAD.size + runs * RUN.size
        spans = [RUN.unpack_from(data, HEAD.size + number * RUN.size) for number in range(runs)]
    except struct.error as fault:
        raise Incompatible("the file of leaf hashes is cut short", code="bad_leaves") from fault
    hashes = [data[place : place + HASH_BYTES] for place in range(at, len(data), HASH_BYTES)]
    if magic != MAGIC or len(data) != at + count * HASH_BYTES or sum(size for _, size in spans) != count:
        raise Incompatible("the file of leaf hashes is cut short, or none", code="bad_leaves")
    return Leaves([offset for first, size in spans for offset in range(first, first + size)], hashes)


def runs_of(offsets: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First offset and length of each run without a gap."""
    first = size = 0
    for offset in offsets:
        if size and offset == first + size:
            size += 1
            continue
        if size:
            yield first, size
        first, size = offset, 1
    if size:
        yield first, size


class LeafStore:
    """Keeps files by their hash. Its methods block; in an event loop call them in a thread."""

    def __init__(self, settings: Settings) -> None:
        self._url = f"{settings.artifact_url.rstrip('/')}/leaves"
        self._fs, self._root = fsspec.core.url_to_fs(self._url)

    def put(self, leaves: Leaves) -> str:
        """Keep the leaves of a range; again is without effect. Returns the hash of the file.

        Raises:
            Unavailable: the store cannot be written.
        """
        data = packed(leaves)
        name = sha256(data).hexdigest()
        path = self._path(name)
        aside = f"{path}.{uuid4().hex}"
        try:
            if not self._fs.exists(path):
                self._fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
                self._fs.pipe_file(aside, data)
                self._fs.mv(aside, path)
        except OSError as fault:
            raise Unavailable(f"leaf hashes cannot be kept at {self._url}: {fault}", code="store_away") from fault
        return name

    def get(self, name: str) -> Leaves:
        """The leaves in a file.

        Raises:
            NotFound: it is not there.
            Incompatible: it is not what its name says.
        """
        try:
            data: bytes = self._fs.cat_file(self._path(name))
        except OSError as fault:
            raise NotFound(f"the leaf hashes {name} are not at {self._url}", code="leaves_missing") from fault
        if sha256(data).hexdigest() != name:
            raise Incompatible(f"the leaf hashes {name} at {self._url} were changed", code="bad_leaves")
        return unpacked(data)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name[:2]}/{name}"
