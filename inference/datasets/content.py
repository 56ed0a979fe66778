"""A hash over the content of a table, the same however the rows come in pieces and whatever library holds them.

Each column is three streams: which values are missing, how long each is (texts alone), and the values, little-endian,
one after another. The hash is over the names, kinds and hashes of all.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import polars as pl
from numpy.typing import NDArray

from infra.kafka.columns import joined_bytes


class ContentHash:
    """Takes the rows piece by piece, in their order.

    Args:
        columns: names and kinds; rows must have them all. Lists and records are taken apart into their values.
    """

    def __init__(self, columns: Mapping[str, pl.DataType | type[pl.DataType]]) -> None:
        self._columns = dict(columns)
        self._streams: dict[str, _Streams] = {}
        self.rows = 0

    def update(self, rows: pl.DataFrame) -> None:
        """Take more rows."""
        for name, kind in self._columns.items():
            self._feed(name, rows[name].cast(kind))
        self.rows += len(rows)

    def hexdigest(self) -> str:
        """SHA-256 over all so far."""
        kinds = {name: str(kind) for name, kind in self._columns.items()}
        paths = [*self._columns, *sorted(self._streams.keys() - self._columns.keys())]
        said = [[path, kinds.get(path, ""), *self._streams.get(path, _Streams()).digests()] for path in paths]
        return hashlib.sha256(json.dumps([self.rows, said], separators=(",", ":")).encode()).hexdigest()

    def _feed(self, path: str, column: pl.Series) -> None:
        streams = self._streams.setdefault(path, _Streams())
        streams.missing.update(column.is_null().cast(pl.UInt8).to_numpy().tobytes())
        if isinstance(column.dtype, pl.List):
            streams.sizes.update(_numbers(column.list.len().cast(pl.Int64)))
            self._feed(f"{path}[]", column.filter(column.list.len() > 0).explode())
        elif isinstance(column.dtype, pl.Struct):
            for field in column.dtype.fields:
                self._feed(f"{path}.{field.name}", column.struct.field(field.name))
        elif column.dtype == pl.String:
            streams.sizes.update(_numbers(column.str.len_bytes().cast(pl.Int64)))
            streams.values.update(joined_bytes(column.fill_null("")))
        else:
            streams.values.update(_numbers(column.to_physical()))


class _Streams:
    """The three streams of one column."""

    def __init__(self) -> None:
        self.missing, self.sizes, self.values = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()

    def digests(self) -> list[str]:
        return [stream.hexdigest() for stream in (self.missing, self.sizes, self.values)]


def _numbers(column: pl.Series) -> bytes:
    """Little-endian, one after another; zero where one is missing."""
    values: NDArray[Any] = column.fill_null(False if column.dtype == pl.Boolean else 0).to_numpy()
    return values.astype(values.dtype.newbyteorder("<")).tobytes()
