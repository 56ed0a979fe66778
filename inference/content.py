"""A hash over the content of a table, the same however the rows come in pieces and whatever library holds them.

Each column is three streams: which values are missing, how long each is (texts alone), and the values, little-endian,
one after another. The hash is over the names, kinds and hashes of all.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from infra.kafka.columns import joined_bytes


class ContentHash:
    """Takes the rows piece by piece, in their order.

    Args:
        columns: names and kinds; rows must have them all. Texts, whole numbers, floats and times.
    """

    def __init__(self, columns: Mapping[str, pl.DataType | type[pl.DataType]]) -> None:
        self._columns = dict(columns)
        self._streams: dict[str, list[Any]] = {name: [hashlib.sha256() for _ in range(3)] for name in columns}
        self.rows = 0

    def update(self, rows: pl.DataFrame) -> None:
        """Take more rows."""
        for name, kind in self._columns.items():
            missing, sizes, values = self._streams[name]
            column = rows[name].cast(kind)
            missing.update(column.is_null().cast(pl.UInt8).to_numpy().tobytes())
            if kind == pl.String:
                sizes.update(column.str.len_bytes().fill_null(0).cast(pl.Int64).to_numpy().astype("<i8").tobytes())
                values.update(joined_bytes(column.fill_null("")))
            else:
                values.update(_little_endian(column.to_physical().fill_null(0).to_numpy()))
        self.rows += len(rows)

    def hexdigest(self) -> str:
        """SHA-256 over all so far."""
        said = [
            [name, str(kind), *(stream.hexdigest() for stream in self._streams[name])]
            for name, kind in self._columns.items()
        ]
        return hashlib.sha256(json.dumps([self.rows, said], separators=(",", ":")).encode()).hexdigest()


def _little_endian(values: "np.ndarray[Any, Any]") -> bytes:
    return values.astype(values.dtype.newbyteorder("<")).tobytes()
