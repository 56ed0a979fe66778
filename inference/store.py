"""The artifact store: files that are named by the hash of their content, on whatever fsspec reaches."""

import asyncio
import hashlib
import os
import uuid

import fsspec

from inference.artifact import Metadata, read_metadata
from infra.settings import Settings
from schemas.errors import Incompatible, NotFound, Unavailable


def digest(artifact: bytes) -> str:
    """The name of an artifact: its SHA-256 in hexadecimal."""
    return hashlib.sha256(artifact).hexdigest()


class ArtifactStore:
    """Stores and finds artifacts. What is stored never changes, so it is read without asking again.

    Its methods block; in an event loop call them in a thread, or use `metadata`.
    """

    def __init__(self, settings: Settings) -> None:
        self._url = settings.artifact_url.rstrip("/")
        self._fs, self._root = fsspec.core.url_to_fs(self._url)

    def put(self, artifact: bytes) -> str:
        """Store an artifact; again is without effect. Returns its SHA-256.

        Raises:
            Unavailable: the store cannot be written.
        """
        sha256 = digest(artifact)
        path = self._path(sha256)
        aside = f"{path}.{os.getpid()}.{uuid.uuid4().hex}"
        try:
            if not self._fs.exists(path):
                self._fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
                self._fs.pipe_file(aside, artifact)
                self._fs.mv(aside, path)
        except OSError as fault:
            raise Unavailable(f"the artifact store at {self._url} cannot be written: {fault}") from fault
        return sha256

    def get(self, sha256: str) -> bytes:
        """The artifact with this hash.

        Raises:
            NotFound: it is not in the store.
            Incompatible: what lies there has another hash.
            Unavailable: the store cannot be read.
        """
        try:
            artifact: bytes = self._fs.cat_file(self._path(sha256))
        except FileNotFoundError as fault:
            raise NotFound(
                f"artifact {sha256} is not in the store at {self._url}: train again, or copy it there",
                code="artifact_missing",
            ) from fault
        except OSError as fault:
            raise Unavailable(f"the artifact store at {self._url} cannot be read: {fault}") from fault
        found = digest(artifact)
        if found != sha256:
            raise Incompatible(
                f"artifact {sha256} in the store has the hash {found}: it was damaged or replaced; train again",
                code="artifact_damaged",
            )
        return artifact

    async def metadata(self, sha256: str) -> Metadata:
        """What an artifact says about itself. Raises as `get` does, and Incompatible when it is none of ours."""
        return await asyncio.to_thread(lambda: read_metadata(self.get(sha256)))

    def _path(self, sha256: str) -> str:
        return f"{self._root}/{sha256[:2]}/{sha256}.onnx"
