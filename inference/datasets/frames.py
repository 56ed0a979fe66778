"""A dataset as files: the manifest, and the rows with their features in a format of choice."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path

import polars as pl

from inference.datasets.dataset import Dataset

ROW_GROUP = 1 << 17


class Format(StrEnum):
    """What rows can be written as."""

    parquet = "parquet"
    arrow = "arrow"
    csv = "csv"
    jsonl = "jsonl"


def written(dataset: Dataset, folder: Path, format: Format) -> Path:
    """Write `manifest.json` and `rows.<format>`; the manifest last, so that a folder that has one is whole.

    The same manifest gives the same bytes, with the same versions of the libraries that write them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"rows.{format}"
    WRITERS[format](dataset.table, path)
    (folder / "manifest.json").write_text(dataset.manifest.as_json())
    return path


def _csv(table: pl.DataFrame, path: Path) -> None:
    """Lists as their values with `|` between: CSV has none."""
    lists = [pl.col(name).list.join("|") for name, kind in table.schema.items() if isinstance(kind, pl.List)]
    table.with_columns(lists).write_csv(path, datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ")


WRITERS: Mapping[Format, Callable[[pl.DataFrame, Path], object]] = {
    Format.parquet: lambda table, path: table.write_parquet(path, row_group_size=ROW_GROUP),
    Format.arrow: lambda table, path: table.write_ipc(path),
    Format.csv: _csv,
    Format.jsonl: lambda table, path: table.write_ndjson(path),
}
