"""How far a named upload has come, folded from what is on record of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson

from commands.api.bulk.cut import Start
from schemas.envelope import Meta
from schemas.uploads import UploadBegan, UploadConfirmed, UploadsEvent

REPORTED = 100
"""Problems that are named; all are counted."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What is confirmed of an upload.

    Attributes:
        attempt: the newest; what others say afterwards is void.
        places: bytes confirmed, each time.
        digest: of the last place.
        positions: last offset in each partition, `topic/partition` to offset.
    """

    attempt: str = ""
    media_type: str = ""
    start: Start = field(default_factory=Start)
    places: tuple[int, ...] = ()
    digest: bytes = b""
    accepted: int = 0
    refused: int = 0
    problems: tuple[Mapping[str, Any], ...] = ()
    positions: Mapping[str, int] | None = None
    complete: bool = False
    updated_at: datetime | None = None

    def document(self, upload_id: str, *, running: bool) -> dict[str, Any]:
        """For people and clients."""
        return {
            "upload_id": upload_id,
            "state": "complete" if self.complete else "running" if running else "interrupted",
            "confirmed_bytes": self.start.size_bytes,
            "confirmed_lines": self.start.number,
            "accepted": self.accepted,
            "refused": self.refused,
            "problems": self.problems,
            "positions": self.told,
            "updated_at": self.updated_at,
        }

    @property
    def told(self) -> Sequence[str]:
        """The positions as text."""
        return [f"{partition}/{offset}" for partition, offset in sorted((self.positions or {}).items())]


def evolve(progress: Progress, event: UploadsEvent, meta: Meta) -> Progress:
    """The progress after an event; the confirmation of an attempt that was overtaken changes nothing."""
    if isinstance(event, UploadBegan):
        return replace(progress, attempt=event.attempt, media_type=event.media_type, updated_at=meta.time)
    if event.attempt != progress.attempt or progress.complete:
        return progress
    return replace(
        progress,
        start=Start(event.size_bytes, event.lines, progress.start.preamble or event.preamble),
        places=_places(progress, event),
        digest=bytes.fromhex(event.digest),
        accepted=event.accepted,
        refused=event.refused,
        problems=(*progress.problems, *map(orjson.loads, event.problems)),
        positions={**(progress.positions or {}), **dict(map(_split, event.positions))},
        complete=event.complete,
        updated_at=meta.time,
    )


def _places(progress: Progress, event: UploadConfirmed) -> tuple[int, ...]:
    """An end at the place confirmed last, after which nothing came, is no new place."""
    if event.size_bytes == progress.start.size_bytes:
        return progress.places
    return (*progress.places, event.size_bytes)


def _split(position: str) -> tuple[str, int]:
    partition, _, offset = position.rpartition("/")
    return partition, int(offset)
