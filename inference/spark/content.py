"""What Spark wrote, held against a manifest: the same hash, over the rows in the order of the log."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl
from pyspark.sql import DataFrame

from inference.datasets.content import ContentHash
from inference.datasets.manifest import COLUMNS, Manifest

NOTHING: pl.DataFrame = pl.DataFrame(schema=dict(COLUMNS))


@dataclass(frozen=True)
class Written:
    """Rows in a folder of Parquet files, whose names are in the order of the log.

    Attributes:
        sha256: over their content, as manifests name it.
    """

    folder: Path
    rows: int
    sha256: str

    def agrees(self, manifest: Manifest) -> bool:
        """Whether it is what the manifest says."""
        return (self.rows, self.sha256) == (manifest.rows, manifest.sha256)

    def frame(self) -> pl.DataFrame:
        """All of it."""
        return pl.concat([NOTHING, *(_read(file) for file in _files(self.folder))])


def written(table: DataFrame, folder: Path) -> Written:
    """Write a table whose rows are in the order of the log, and hash it file by file."""
    table.write.mode("errorifexists").parquet(str(folder))
    content = ContentHash(COLUMNS)
    for file in _files(folder):
        content.update(_read(file))
    return Written(folder, content.rows, content.hexdigest())


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.parquet"))


def _read(file: Path) -> pl.DataFrame:
    rows = pl.read_parquet(file)
    return rows.select(pl.col(name).cast(kind) for name, kind in COLUMNS.items())
