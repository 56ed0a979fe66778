"""Where the events of some keys or items stand, as the read models `event_index` and `item_index` say it: a hint.

It is never the truth. The index speaks for an offset when it has a signature there. What it does not speak for has to
be read from the log, so that nothing is missed: events not folded yet, void ones, those of other tenants.
"""

import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from psycopg.rows import tuple_row

from infra.postgres import connect
from infra.settings import Settings
from schemas.errors import Problem

IN_A_ROW = 128
"""Offsets to a row of the index."""

LOOK_UP = """
    SELECT partition, array_agg(block ORDER BY block),
        string_agg(substring(bit_send(signatures) FROM 5), ''::bytea ORDER BY block)
    FROM {} JOIN unnest(%s::int[], %s::bigint[]) AS wanted(part, rows) ON partition = part AND block < rows
    WHERE topic = %s GROUP BY partition
"""


@dataclass(frozen=True, eq=False)
class Signatures:
    """What the index says of the offsets of one partition, from 0 on; 0 where it says nothing."""

    values: NDArray[np.uint32]

    def of(self, keys: Collection[str]) -> NDArray[np.int64]:
        """Offsets whose event may have one of these keys, in their order."""
        wanted = np.array([signature(key) for key in keys], np.uint32)
        return np.flatnonzero(np.isin(self.values, wanted) & (self.values != 0))

    @property
    def unknown(self) -> NDArray[np.int64]:
        """Offsets that it says nothing of."""
        return np.flatnonzero(self.values == 0)

    def between(self, first: int, end: int) -> "Signatures":
        """The same, but silent before `first` and of exactly `end` offsets."""
        values = np.zeros(end, np.uint32)
        known = self.values[:end]
        values[: len(known)] = known
        values[:first] = 0
        return Signatures(values)


def signature(key: str) -> int:
    """What the index keeps of a key."""
    return zlib.crc32(key.encode())


async def signatures(
    settings: Settings, topic: str, ends: Mapping[int, int], *, view: str = "event_index"
) -> dict[int, Signatures] | None:
    """What an index says of the offsets before these ends, by partition; None when it cannot be asked."""
    rows = {partition: -(-end // IN_A_ROW) for partition, end in ends.items()}
    values = {partition: np.zeros((count, IN_A_ROW), np.uint32) for partition, count in rows.items()}
    try:
        async with await connect(settings, "explain") as connection, connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(
                sql.SQL(LOOK_UP).format(sql.Identifier(view)), (list(rows), list(rows.values()), topic), binary=True
            )
            async for partition, blocks, data in cursor:
                values[partition][np.array(blocks)] = np.frombuffer(data, ">u4").reshape(-1, IN_A_ROW)
    except (psycopg.Error, Problem):
        return None
    return {partition: Signatures(found.reshape(-1)[: ends[partition]]) for partition, found in values.items()}
