"""How far a replay has come, kept beside what it writes, so that a run that was killed goes on where it ended."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from schemas.errors import Invalid, Rejected
from schemas.models import OffsetRange

FORMAT = 1


@dataclass(frozen=True)
class Job:
    """What a replay is asked for, and what that came to when it first ran.

    Attributes:
        asked: the options that decide what is written, as they were given.
        ranges: of the log, in order; an end that was left open is fixed here.
        topic_ids: of Kafka; a topic that was made anew is another one.
    """

    asked: Mapping[str, Any]
    ranges: tuple[OffsetRange, ...]
    topic_ids: Mapping[str, str]

    @property
    def total(self) -> int:
        """Offsets in all ranges."""
        return sum(part.end - part.first for part in self.ranges)


@dataclass
class Journal:
    """The job and what has been done of it. `done` belongs to whoever writes, and is JSON."""

    path: Path
    job: Job
    done: dict[str, Any] = field(default_factory=dict)

    def save(self) -> None:
        """Keep it, whole or not at all."""
        job = {"asked": self.job.asked, "ranges": list(map(asdict, self.job.ranges)), "topic_ids": self.job.topic_ids}
        write_whole(self.path, json.dumps({"format": FORMAT, **job, "done": self.done}).encode())

    def remove(self) -> None:
        """There is nothing left to do."""
        self.path.unlink(missing_ok=True)


def read_journal(path: Path) -> Journal | None:
    """The journal at `path`; None when there is none.

    Raises:
        Invalid: it is none of this version's.
    """
    try:
        said = json.loads(path.read_bytes())
        if said["format"] != FORMAT:
            raise ValueError(f"format {said['format']}")
        ranges = tuple(OffsetRange(**part) for part in said["ranges"])
        return Journal(path, Job(said["asked"], ranges, said["topic_ids"]), said["done"])
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError) as fault:
        raise Invalid(
            f"{path} does not say how far the replay had come ({fault}): remove what it wrote, and begin again",
            code="bad_journal",
        ) from fault


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under another name and give it its own: nobody ever sees half of it."""
    aside = path.with_name(f".{path.name}.part")
    with aside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Nobody else writes there while the block runs; `path` is a file for that alone, gone afterwards.

    Raises:
        Rejected: somebody else does.
    """
    with path.open("a") as mark:
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as fault:
            raise Rejected(
                f"another replay is writing there ({path}): wait for it, or name another place", code="replay_running"
            ) from fault
        try:
            yield
        finally:
            with suppress(FileNotFoundError):
                path.unlink()
