"""A folder of Parquet files: one for each type, partition and million offsets, each made by itself.

So any number of workers write at once, a file that is there is whole, and a run that was killed makes only those that
are missing.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from console.export.journal import Journal
from console.export.manifest import Outcome, Written, sha256_of
from console.export.pace import Pace
from console.export.tally import Tally
from inference.datasets.content import ContentHash
from infra.kafka.fetch import name_of
from infra.kafka.lanes import for_each, in_order
from infra.kafka.ranges import sliced
from infra.kafka.replay import SLICE, Reader, Tables
from schemas.errors import Invalid
from schemas.models import OffsetRange

UNIT = 1 << 20
"""Offsets in one file, at most."""
PART = ".part"


@dataclass(frozen=True)
class Layout:
    """How a folder is laid out.

    Attributes:
        path: of the file of a type and a part of the log, relative to the folder.
        said_by_path: columns that the path holds, and the files therefore do not.
    """

    path: Callable[[str, OffsetRange], str]
    said_by_path: tuple[str, ...] = ()


PLAIN = Layout(lambda name, part: f"{name}/{part.topic}-{part.partition:04}-{part.first:020}.parquet")
HIVE = Layout(
    lambda name, part: f"_type={name}/_topic={part.topic}/_partition={part.partition}/{part.first:020}.parquet",
    ("_topic", "_partition"),
)
"""Hive's: every engine takes the columns from the names of the folders, and skips those that are not asked for."""


class Folder:
    """Writes the units of a job.

    Args:
        journal: of the job; names the units that are done.
    """

    def __init__(self, path: Path, layout: Layout, journal: Journal, keys: Sequence[str]) -> None:
        self._path, self._layout, self._journal, self._keys = path, layout, journal, keys

    async def write(self, reader: Reader, ranges: Sequence[OffsetRange], workers: int, pace: Pace) -> Outcome:
        """Write the units of these ranges that are not done.

        Raises:
            Invalid: a file of an earlier run was changed or removed since.
            Problem: as `Reader.pieces`.
        """
        done: dict[str, dict[str, Any]] = self._journal.done.setdefault("units", {})
        units = list(sliced(ranges, UNIT))
        await asyncio.to_thread(self._check, done)
        pace.skip(sum(part.end - part.first for part in units if name_of(part) in done))
        todo = [part for part in _spread(units) if name_of(part) not in done]
        await for_each(todo, partial(self._unit, reader, pace), workers)
        return self._outcome([done[name_of(part)] for part in units])

    async def _unit(self, reader: Reader, pace: Pace, part: OffsetRange) -> None:
        files = _Files(self._path, self._layout, part)
        tally = Tally(self._keys)
        try:
            async with aclosing(in_order(sliced([part], SLICE), reader.pieces, 1)) as pieces:
                async for piece in pieces:
                    tally.add(piece.tables)
                    await asyncio.to_thread(files.write, piece.tables)
                    pace.passed(piece.part.end - piece.part.first)
            written = await asyncio.to_thread(files.finish)
        finally:
            files.abandon()
        self._journal.done["units"][name_of(part)] = {"files": list(map(asdict, written)), "tally": tally.as_json()}
        self._journal.save()

    def _check(self, done: dict[str, dict[str, Any]]) -> None:
        """Whether what was done is still there; leftovers of what was begun are removed."""
        for left in self._path.rglob(f"*{PART}"):
            left.unlink()
        for file in (Written(**said) for unit in done.values() for said in unit["files"]):
            path = self._path / file.path
            if not path.is_file() or sha256_of(path) != file.sha256:
                raise Invalid(
                    f"{path} is not as the earlier run left it: remove {self._path} and begin again",
                    code="part_changed",
                )

    def _outcome(self, units: Iterable[dict[str, Any]]) -> Outcome:
        tally, files = Tally(self._keys), list[Written]()
        for unit in units:
            tally.take(unit["tally"])
            files += [Written(**said) for said in unit["files"]]
        return tally.outcome(files)


class _Files:
    """The files of one unit, under other names until they are whole."""

    def __init__(self, folder: Path, layout: Layout, part: OffsetRange) -> None:
        self._folder, self._layout, self._part = folder, layout, part
        self._open: dict[str, _File] = {}

    def write(self, tables: Tables) -> None:
        """Append to the file of each type."""
        for name, table in tables.items():
            if name not in self._open:
                path = self._folder / self._layout.path(name, self._part)
                self._open[name] = _File(path, table.drop(self._layout.said_by_path))
            self._open[name].write(table.drop(self._layout.said_by_path))

    def finish(self) -> list[Written]:
        """Give them their names."""
        return [file.finish(self._folder, name, self._part) for name, file in sorted(self._open.items())]

    def abandon(self) -> None:
        """Remove what has no name yet."""
        for file in self._open.values():
            file.abandon()


class _File:
    def __init__(self, path: Path, first: pl.DataFrame) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._aside = path.with_name(path.name + PART)
        self._writer = pq.ParquetWriter(self._aside, first.to_arrow().schema, compression="zstd")
        self._content = ContentHash(dict(first.schema))

    def write(self, table: pl.DataFrame) -> None:
        self._writer.write_table(table.to_arrow())
        self._content.update(table)

    def finish(self, folder: Path, name: str, part: OffsetRange) -> Written:
        self._writer.close()
        with self._aside.open("rb") as file:
            os.fsync(file.fileno())
        size, sha256 = self._aside.stat().st_size, sha256_of(self._aside)
        self._aside.replace(self._path)
        where = self._path.relative_to(folder).as_posix()
        return Written(
            where,
            self._content.rows,
            size,
            sha256,
            type=name,
            topic=part.topic,
            partition=part.partition,
            first=part.first,
            end=part.end,
            content_sha256=self._content.hexdigest(),
        )

    def abandon(self) -> None:
        self._writer.close()
        with suppress(FileNotFoundError):
            self._aside.unlink()


def _spread(units: Sequence[OffsetRange]) -> Iterator[OffsetRange]:
    """One of each partition, then the next of each: so that workers ask different brokers."""
    lines: dict[tuple[str, int], list[OffsetRange]] = {}
    for part in units:
        lines.setdefault((part.topic, part.partition), []).append(part)
    for row in zip_longest(*lines.values()):
        yield from (part for part in row if part is not None)
