"""A replay from beginning to end: whether it goes on with an earlier run, who writes it, what it says at the end."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from console.export.asked import Asked, Format, types_on
from console.export.duck import add_views
from console.export.folder import HIVE, PLAIN, Folder
from console.export.journal import Job, Journal, claimed, read_journal, write_whole
from console.export.manifest import Outcome, Written, as_bytes, manifest_of, sha256_of
from console.export.pace import Pace
from console.export.rows import ArrowStream, Encoder, JsonLines
from console.export.stream import Stream
from infra.kafka.identity import topic_ids
from infra.kafka.records import Decoder
from infra.kafka.replay import Report, open_reader
from infra.settings import Settings
from schemas.errors import Invalid
from schemas.models import OffsetRange

Choose = Callable[[], Awaitable[Sequence[OffsetRange]]]
STDOUT = Path("-")


@dataclass(frozen=True)
class Place:
    """Where a replay writes, and the files beside it."""

    out: Path
    manifest: Path
    journal: Path
    lock: Path

    @classmethod
    def of(cls, out: Path, format: Format) -> "Place":
        """For a folder, or for a file."""
        lock = out.with_name(f".{out.name}.lock")
        if format.is_folder:
            return cls(out, out / "manifest.json", out / ".replay.json", lock)
        return cls(out, out.with_name(f"{out.name}.manifest.json"), out.with_name(f".{out.name}.replay.json"), lock)


@dataclass(frozen=True)
class Done:
    """What a replay came to.

    Attributes:
        before: offsets that an earlier run had done.
    """

    outcome: Outcome
    total: int
    before: int


@dataclass(frozen=True)
class Replay:
    """One replay.

    Attributes:
        choose: gives the ranges; asked only when no earlier run has fixed them.
        report: told how far it is.
    """

    settings: Settings
    decoder: Decoder
    asked: Asked
    choose: Choose
    workers: int
    report: Report

    async def to_stdout(self) -> Done:
        """Write a stream.

        Raises:
            Invalid: the format is a folder.
            Problem: the log cannot be read.
        """
        if self.asked.format.is_folder:
            raise Invalid(
                f"{self.asked.format} is a folder: name one, or write arrow or jsonl to standard output", code="bad_out"
            )
        return await self._write(await self._job(), None, STDOUT)

    async def to(self, out: Path) -> Done:
        """Write to a folder or file, from where an earlier run of the same replay ended.

        Raises:
            Invalid: something else is there.
            Rejected: another replay is writing there.
            Problem: the log cannot be read; what has been written stays for the next run.
        """
        place = Place.of(out, self.asked.format)
        place.out.parent.mkdir(parents=True, exist_ok=True)
        with claimed(place.lock):
            if place.manifest.is_file():
                return await self._again(place)
            journal = read_journal(place.journal) or await self._begun(place)
            await self._check(place, journal.job)
            done = await self._write(journal.job, journal, out)
            if self.asked.format is Format.duckdb:
                add_views(out, sorted(done.outcome.types))
            write_whole(place.manifest, as_bytes(manifest_of(journal.job, done.outcome)))
            journal.remove()
            return done

    async def _job(self) -> Job:
        ranges = tuple(await self.choose())
        return Job(self.asked.as_json(), ranges, await topic_ids(self.settings, {part.topic for part in ranges}))

    async def _begun(self, place: Place) -> Journal:
        """The journal of a new run.

        Raises:
            Invalid: something is there already.
        """
        out = place.out
        if self.asked.format.is_folder:
            if out.exists() and (not out.is_dir() or any(out.iterdir())):
                raise Invalid(f"{out} is not an empty folder: name another, or remove it", code="out_exists")
        elif out.exists():
            raise Invalid(f"{out} exists: name another file, or remove it", code="out_exists")
        journal = Journal(place.journal, await self._job())
        types_on(journal.job.ranges, self.asked.types)
        place.journal.parent.mkdir(exist_ok=True)
        journal.save()
        return journal

    async def _check(self, place: Place, job: Job) -> None:
        """Whether an earlier run had the same job on the same log.

        Raises:
            Invalid: it had another.
        """
        if job.asked != self.asked.as_json():
            raise Invalid(
                f"{place.out} belongs to another replay ({_differing(job.asked, self.asked.as_json())}): "
                "give its options to go on with it, or name another place",
                code="other_replay",
            )
        now = await topic_ids(self.settings, {part.topic for part in job.ranges})
        if now != dict(job.topic_ids):
            raise Invalid(
                f"{place.out} was begun on a log that is no more: its topics were made anew; remove it and begin again",
                code="other_log",
            )

    async def _again(self, place: Place) -> Done:
        """What is there already, when it is this very replay and whole.

        Raises:
            Invalid: it is another one, or was changed since.
        """
        try:
            said = json.loads(place.manifest.read_bytes())
            ranges = tuple(OffsetRange(**part) for part in said["ranges"])
            files = [Written(**file) for file in said["files"]]
            outcome = Outcome(files, said["types"], said["schema_ids"], self.asked.keys)
            job = Job(said["asked"], ranges, said["topic_ids"])
        except (KeyError, TypeError, ValueError) as fault:
            raise Invalid(
                f"{place.manifest} is none of this version's: name another place, or remove it", code="out_exists"
            ) from fault
        await self._check(place, job)
        if tuple(await self.choose()) != ranges:
            raise Invalid(
                f"{place.out} holds this replay of a shorter log: name another place for what has come since",
                code="out_exists",
            )
        await asyncio.to_thread(_check_files, place, files)
        return Done(outcome, job.total, job.total)

    async def _write(self, job: Job, journal: Journal | None, out: Path) -> Done:
        types = types_on(job.ranges, self.asked.types)
        pace = Pace(job.total, self.report)
        keys = self.asked.keys or None
        async with open_reader(self.settings, self.decoder, job.ranges, types=types, keys=keys) as reader:
            if journal is not None and self.asked.format.is_folder:
                layout = HIVE if self.asked.format is Format.duckdb else PLAIN
                writer: Folder | Stream = Folder(out, layout, journal, self.asked.keys)
            else:
                writer = Stream(out, _encoder(self.asked.format, types), journal, self.asked.keys)
            outcome = await writer.write(reader, job.ranges, self.workers, pace)
        return Done(outcome, job.total, pace.before)


def _encoder(format: Format, types: Sequence[str]) -> Encoder:
    return ArrowStream(types) if format is Format.arrow else JsonLines()


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {one.get(name)}" for name in other if one.get(name) != other[name])


def _check_files(place: Place, files: Sequence[Written]) -> None:
    for file in files:
        path = place.manifest.parent / file.path
        if not path.is_file() or sha256_of(path) != file.sha256:
            raise Invalid(
                f"{path} is not what {place.manifest} says: remove {place.out} and begin again", code="part_changed"
            )
