"""Where a worker keeps its fold: one file, written whole or not at all.

The file is a cache of the log. When it is lost or another tenant's, or a stage has changed, the worker takes a new name
on the brokers and folds from the beginning: the name in the file and the offsets that the brokers hold for that name
belong together.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import structlog

from schemas.errors import Conflict
from streams.fold import Fold
from streams.stage import Stage

log = structlog.get_logger()

STATE_FILE = "state.json"
LOCK_FILE = "lock"


@dataclass
class Keeper:
    """Reads and writes the file.

    Attributes:
        folder: of this worker alone.
        stages: by name.
        tenant: whose data is folded.
        name: what the worker is called on the brokers; lives as long as the file.
    """

    folder: Path
    stages: Mapping[str, Stage[Any]]
    tenant: str
    name: str = ""

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Keep others out of the folder.

        Raises:
            Conflict: another worker uses it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LOCK_FILE).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as fault:
                raise Conflict(
                    f"another streams worker uses {self.folder}: stop it, or give this one a data_dir of its own",
                    code="folder_in_use",
                ) from fault
            yield

    def open(self) -> Fold:
        """The fold as it was kept, else a fresh one under a new name."""
        try:
            kept = orjson.loads((self.folder / STATE_FILE).read_bytes())
            if kept["fingerprint"] == self._fingerprint:
                self.name = kept["name"]
                return Fold.load(self.stages, kept)
            log.warning("stages or tenant have changed; folding the log anew")
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError) as fault:
            log.warning("the kept state cannot be read; folding the log anew", cause=repr(fault))
        self.name = uuid4().hex[:12]
        fold = Fold.fresh(self.stages)
        self.write(self.encode(fold))
        return fold

    def encode(self, fold: Fold) -> bytes:
        """The file's content for a fold."""
        return orjson.dumps({"fingerprint": self._fingerprint, "name": self.name, **fold.dump()})

    def write(self, content: bytes) -> None:
        """Put `content` into the file so that a crash leaves the old one or the new one."""
        beside = self.folder / f"{STATE_FILE}.new"
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.folder / STATE_FILE)

    @property
    def _fingerprint(self) -> str:
        prints = "|".join([self.tenant, *sorted(stage.fingerprint for stage in self.stages.values())])
        return hashlib.sha256(prints.encode()).hexdigest()[:16]
