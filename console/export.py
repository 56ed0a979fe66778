"""Files that a replay writes: one Parquet file for each type of event in a folder, or JSON lines."""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self

import orjson
import polars as pl
import pyarrow.parquet as pq

from inference.content import ContentHash
from infra.kafka.columns import META
from schemas.errors import Invalid
from schemas.models import OffsetRange

ROW_GROUP = 1 << 17


class Export(Protocol):
    """Takes tables in log order."""

    events: int
    files: int

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def sha256(self) -> str:
        """Hash of what was written, the same for the same part of the log."""

    def write(self, name: str, table: pl.DataFrame) -> None:
        """More events of one type."""

    def finish(self, ranges: Sequence[OffsetRange], filters: Mapping[str, Sequence[str]]) -> None:
        """All has been written."""


class ParquetFolder:
    """`<folder>/<type>.parquet` for each type, and `manifest.json`.

    Raises:
        Invalid: the folder holds something already.
    """

    def __init__(self, folder: Path) -> None:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise Invalid(f"{folder} is not an empty folder: name another, or remove it", code="out_exists")
        self._folder = folder
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._hashes: dict[str, ContentHash] = {}
        self.events = self.files = 0

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        for writer in self._writers.values():
            writer.close()

    @property
    def sha256(self) -> str:
        """Hash over the content of all types; the same whatever the files' own bytes are."""
        said = [[name, content.hexdigest()] for name, content in sorted(self._hashes.items())]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    def write(self, name: str, table: pl.DataFrame) -> None:
        """Append to the type's file."""
        arrow = table.to_arrow()
        if name not in self._writers:
            self._writers[name] = pq.ParquetWriter(
                self._folder / f"{name}.parquet", arrow.schema, compression="zstd", use_dictionary=False
            )
            self._hashes[name] = ContentHash(dict(table.schema))
            self.files += 1
        self._writers[name].write_table(arrow, row_group_size=ROW_GROUP)
        self._hashes[name].update(table)
        self.events += len(table)

    def finish(self, ranges: Sequence[OffsetRange], filters: Mapping[str, Sequence[str]]) -> None:
        """Write the manifest."""
        types = {
            name: {"file": f"{name}.parquet", "rows": content.rows, "sha256": content.hexdigest()}
            for name, content in sorted(self._hashes.items())
        }
        manifest = {
            "ranges": [asdict(part) for part in ranges],
            "filters": filters,
            "events": self.events,
            "types": types,
            "sha256": self.sha256,
        }
        (self._folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
        self.files += 1


class JsonLines:
    """One object a line: `type`, `position`, `id`, `time` and what else stands around it, then `data`.

    Within each piece that is read, events come by type, and those of one type in log order.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._digest = hashlib.sha256()
        self.events, self.files = 0, 1

    def __enter__(self) -> Self:
        self._file = sys.stdout.buffer if str(self._path) == "-" else self._path.open("wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None and self._file is not sys.stdout.buffer:
            self._file.close()

    @property
    def sha256(self) -> str:
        """Hash of the file."""
        return self._digest.hexdigest()

    def write(self, name: str, table: pl.DataFrame) -> None:
        """Append one line for each event."""
        for row in table.iter_rows(named=True):
            data = {field: value for field, value in row.items() if field not in META}
            around = {field.removeprefix("_"): row[field] for field in META[4:] if row[field] is not None}
            position = f"{row['_topic']}/{row['_partition']}/{row['_offset']}"
            line = {"type": name, "position": position, "key": row["_key"], **around, "data": data}
            self._append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z))
        self.events += len(table)

    def finish(self, ranges: Sequence[OffsetRange], filters: Mapping[str, Sequence[str]]) -> None:
        """Nothing is left to write."""

    def _append(self, line: bytes) -> None:
        assert self._file is not None, "use `with`"
        self._digest.update(line)
        self._file.write(line)
