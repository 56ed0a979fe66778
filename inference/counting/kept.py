"""What was found in closed pieces of the log, kept beside the artifacts so that it is not read again.

The log does not change, so what was found in a piece of it holds for ever. A piece is kept with a hash over its
content: one that is damaged is no piece. Whether it was found on this log is for the reader to see.
"""

import hashlib
import os
from contextlib import suppress
from uuid import uuid4

import fsspec

from infra.settings import Settings


class Kept:
    """Pieces of one kind; they can be removed at any time. Its methods block; call them in a thread.

    Args:
        kind: name of their folder; a change of what they hold takes another.
        ending: of their files' names.
    """

    def __init__(self, settings: Settings, kind: str, ending: str) -> None:
        realm = hashlib.sha256(f"{settings.tenant}\0{settings.topic_prefix}".encode()).hexdigest()[:16]
        self._fs, root = fsspec.core.url_to_fs(settings.artifact_url.rstrip("/"))
        self._root, self._ending = f"{root}/{kind}/{realm}", ending

    def get(self, line: str, number: int) -> bytes | None:
        """The content of a piece; None when it is missing or damaged.

        Args:
            line: the pieces that follow one another, such as those of a partition.
        """
        try:
            told, _, content = self._fs.cat_file(self._path(line, number)).partition(b"\n")
        except OSError:
            return None
        return content if hashlib.sha256(content).hexdigest().encode() == told else None

    def put(self, line: str, number: int, content: bytes) -> None:
        """Keep a piece; where that is not possible it is found again another time."""
        path = self._path(line, number)
        aside = f"{path}.{os.getpid()}.{uuid4().hex}"
        with suppress(OSError):
            self._fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            self._fs.pipe_file(aside, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
            self._fs.mv(aside, path)

    def has(self, line: str, number: int) -> bool:
        """Whether there is such a piece, whole or damaged."""
        try:
            return bool(self._fs.exists(self._path(line, number)))
        except OSError:
            return False

    def _path(self, line: str, number: int) -> str:
        return f"{self._root}/{line}/{number}{self._ending}"
