"""How often items were met in closed pieces of the log, kept beside the artifacts once they have been counted.

The log does not change, so what was counted in a piece of it holds for ever. A piece is kept with a hash over its
content and the id of its last event: one that is damaged, or was counted on another log, is not used but counted again.
"""

import hashlib
import os
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from uuid import uuid4

import fsspec
import numpy as np
import orjson
from numpy.typing import NDArray

from infra.settings import Settings

SIZE = 16_384
"""Offsets of a piece: what is left over at the end of a partition has to be counted each time."""


@dataclass(frozen=True, eq=False)
class Piece:
    """What was counted in `SIZE` consecutive offsets of a partition.

    Attributes:
        counts: interactions by item.
        chosen: hashes of the ids that clients chose and that came here for the first time.
        last: offset and id of the last event; None where there is none.
    """

    counts: Mapping[str, int]
    chosen: NDArray[np.uint64]
    last: tuple[int, str] | None

    def dump(self) -> bytes:
        """As it is kept."""
        chosen = b64encode(np.ascontiguousarray(self.chosen, "<u8").tobytes()).decode()
        content = orjson.dumps({"counts": self.counts, "chosen": chosen, "last": self.last})
        return hashlib.sha256(content).hexdigest().encode() + b"\n" + content

    @classmethod
    def parse(cls, data: bytes) -> "Piece | None":
        """The inverse of `dump`; None when the content is not that of its hash."""
        told, _, content = data.partition(b"\n")
        if hashlib.sha256(content).hexdigest().encode() != told:
            return None
        fields = orjson.loads(content)
        last = None if fields["last"] is None else (int(fields["last"][0]), str(fields["last"][1]))
        return cls(fields["counts"], np.frombuffer(b64decode(fields["chosen"]), "<u8"), last)


class Pieces:
    """The kept pieces of the topic `interactions`. Its methods block; call them in a thread."""

    def __init__(self, settings: Settings) -> None:
        realm = hashlib.sha256(f"{settings.tenant}\0{settings.topic_prefix}".encode()).hexdigest()[:16]
        self._fs, root = fsspec.core.url_to_fs(settings.artifact_url.rstrip("/"))
        self._root = f"{root}/counts/{realm}"

    def get(self, partition: int, first: int, end: int) -> list[Piece]:
        """The pieces from number `first` to before `end`, up to the first that is missing or damaged."""
        found: list[Piece] = []
        for number in range(first, end):
            try:
                piece = Piece.parse(self._fs.cat_file(self._path(partition, number)))
            except (OSError, ValueError, KeyError):
                break
            if piece is None:
                break
            found.append(piece)
        return found

    def put(self, partition: int, number: int, piece: Piece) -> None:
        """Keep a piece; where that is not possible it is counted again another time."""
        path = self._path(partition, number)
        aside = f"{path}.{os.getpid()}.{uuid4().hex}"
        with suppress(OSError):
            self._fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            self._fs.pipe_file(aside, piece.dump())
            self._fs.mv(aside, path)

    def _path(self, partition: int, number: int) -> str:
        return f"{self._root}/{partition}/{number}.json"
