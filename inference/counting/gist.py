"""What counting needs of some consecutive events of a partition: a few columns, small enough to be kept.

Who met what and when, of the topic `interactions`; who gave or withdrew consent to training, or was erased, of the
topic `profiles`. A gist depends on the events of its offsets and on nothing else.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from inference.counting.seen import NOT_CHOSEN, hash_of
from inference.datasets.dataset import INTERACTIONS, PROFILES
from inference.inputs import SILENT_KINDS
from inference.interactions import Int32Array
from infra.kafka.columns import client_chosen
from schemas.interactions import InteractionRecorded
from schemas.models import OffsetRange
from schemas.profiles import ConsentGiven, ConsentWithdrawn, UserErased

WITHDRAWN, GIVEN, ERASED = 0, 1, 2
"""What a user says of being counted."""

WORDS = {ConsentWithdrawn.AVRO: WITHDRAWN, ConsentGiven.AVRO: GIVEN, UserErased.AVRO: ERASED}

TYPES = {INTERACTIONS: frozenset({InteractionRecorded.AVRO}), PROFILES: None}
"""Events to be read by topic; of `profiles` all, because any of them shows whose log it is."""

LAST = b"last"


@dataclass(frozen=True, eq=False)
class Gist:
    """The columns, and the last of the events that they are of.

    Attributes:
        table: `offset` and `user`; of interactions also `item`, `at` (microseconds since the epoch), `speaks` (whether
            it speaks for the item) and `chosen` (`seen.hash_of`, or `NOT_CHOSEN`); of profiles also `word`.
        last: offset and id; None where there was none.
    """

    table: pa.Table
    last: tuple[int, str] | None

    def numbers(self, name: str) -> NDArray[Any]:
        """A column of numbers."""
        return np.asarray(self.table[name].to_numpy())

    def labels(self, name: str) -> tuple[list[str], Int32Array]:
        """A column of names: the different ones, and for each row which."""
        column = self.table[name].combine_chunks()
        return column.dictionary.to_pylist(), column.indices.to_numpy(zero_copy_only=False).astype(np.int32)

    def dump(self) -> bytes:
        """As it is kept."""
        last = b"" if self.last is None else f"{self.last[0]} {self.last[1]}".encode()
        sink = pa.BufferOutputStream()
        schema = self.table.schema.with_metadata({LAST: last})
        with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
            writer.write_table(self.table.replace_schema_metadata({LAST: last}))
        return bytes(sink.getvalue())

    @classmethod
    def parse(cls, content: bytes) -> "Gist":
        """The inverse of `dump`.

        Raises:
            ValueError, KeyError: it is none of ours.
        """
        table = pa.ipc.open_stream(content).read_all()
        offset, _, id = (table.schema.metadata or {})[LAST].decode().partition(" ")
        return cls(table, (int(offset), id) if id else None)


class Rows:
    """Events of a partition, boiled down as they are read.

    Args:
        size: offsets of a piece; the last event of each is noted.
    """

    def __init__(self, topic: str, size: int) -> None:
        self._boil = _meetings if topic == INTERACTIONS else _words
        self._size = size
        self._tables = [self._boil({})]
        self._ends = [pl.DataFrame(schema={"_offset": pl.Int64, "_id": pl.String})]

    def add(self, found: Mapping[str, pl.DataFrame]) -> None:
        """Take events by type, as `replay` gives them."""
        self._tables.append(self._boil(found))
        for table in found.values():
            told = table.select("_offset", "_id", piece=pl.col("_offset") // self._size)
            self._ends.append(told.group_by("piece", maintain_order=True).last().drop("piece"))

    def gists(self, parts: Iterable[OffsetRange]) -> list[Gist]:
        """Of these offsets."""
        table, last = pl.concat(self._tables).sort("offset"), pl.concat(self._ends).sort("_offset")
        return [_gist(table, last, part.first, part.end) for part in parts]


def _gist(table: pl.DataFrame, last: pl.DataFrame, first: int, end: int) -> Gist:
    mine = last.filter(pl.col("_offset").is_between(first, end, closed="left"))
    rows = table.filter(pl.col("offset").is_between(first, end, closed="left"))
    return Gist(_encoded(rows), (mine["_offset"][-1], mine["_id"][-1]) if len(mine) else None)


def _meetings(found: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    schema = {"offset": pl.Int64, "user": pl.String, "item": pl.String, "at": pl.Int64, "speaks": pl.Boolean}
    told = found.get(InteractionRecorded.AVRO)
    if told is None:
        return pl.DataFrame(schema=schema | {"chosen": pl.UInt64})
    chosen = told.select(chosen=client_chosen(pl.col("_id"))).to_series().to_numpy()
    hashes = np.full(len(told), NOT_CHOSEN, np.uint64)
    if chosen.any():
        hashes[chosen] = [hash_of(*row) for row in told.filter(chosen).select("_id", "user_id").iter_rows()]
    return told.select(
        offset="_offset",
        user="user_id",
        item="item_id",
        at=pl.col("occurred_at").dt.timestamp("us"),
        speaks=~pl.col("kind").is_in(sorted(SILENT_KINDS)),
        chosen=pl.Series(hashes, dtype=pl.UInt64),
    ).cast(schema)  # type: ignore[arg-type]


def _words(found: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    said = [pl.DataFrame(schema={"offset": pl.Int64, "user": pl.String, "word": pl.Int8})]
    for name, word in WORDS.items():
        if (table := found.get(name)) is not None:
            heard = table if word == ERASED else table.filter(pl.col("purpose").cast(pl.String) == "training")
            said.append(heard.select(offset="_offset", user="user_id", word=pl.lit(word, pl.Int8)))
    return pl.concat(said)


def _encoded(table: pl.DataFrame) -> pa.Table:
    """As Arrow, every name once."""
    arrow = table.to_arrow()
    for place, name in enumerate(arrow.column_names):
        if name in ("user", "item"):
            names = arrow[name].cast(pa.string()).combine_chunks().dictionary_encode()
            arrow = arrow.set_column(place, name, names)
    return arrow
