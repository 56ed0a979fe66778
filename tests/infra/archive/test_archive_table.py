"""Records to Parquet and back: any record that Kafka can hold, to the byte."""

import io

import polars as pl
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.archive.table import SCHEMA, Row, blocks_of, frame_of, rows_of, table_of
from infra.audit.leaf import leaf_of, leaves_of
from infra.kafka import frame

headers = st.lists(
    st.tuples(st.sampled_from(["ce_id", "tenant", "x", "ü"]), st.none() | st.text(max_size=9).map(str.encode)),
    max_size=5,
)
record = st.tuples(
    st.integers(1, 400),
    st.integers(0, 2**41),
    st.none() | st.binary(max_size=9),
    st.none() | st.binary(max_size=99),
    headers,
)


@st.composite
def logs(draw: st.DrawFn) -> list[Row]:
    """Records whose offsets grow, with gaps."""
    found: list[Row] = []
    at = draw(st.integers(0, 2**40))
    for step, stamp, key, value, pairs in draw(st.lists(record, max_size=30)):
        at += step
        found.append((at, stamp, key, value, pairs))
    return found


@settings(deadline=None)
@given(logs())
def test_nothing_is_lost(rows: list[Row]) -> None:
    """What comes out of a file is what went in; batches made of it hash as those that Kafka had."""
    buffer = io.BytesIO()
    pq.write_table(table_of(rows), buffer)
    table = pq.read_table(buffer, schema=SCHEMA)
    assert list(rows_of(table)) == [(*row[:4], list(row[4])) for row in rows]
    blocks = list(blocks_of(table))
    assert leaves_of(blocks, 0, 2**62).hashes == [leaf_of(*row) for row in rows]
    assert sum(block.count for block in blocks) == len(rows)


@settings(deadline=None)
@given(logs())
def test_columns_are_what_blocks_give(rows: list[Row]) -> None:
    """The quick way from the archive says what the way over record batches says."""
    wanted = ("tenant", "ce_id", "nothing")
    quick = frame_of(table_of(rows), wanted)
    slow = frame.of_blocks(blocks_of(table_of(rows)), wanted)
    assert quick.schema == slow.schema
    assert quick.sort("offset").equals(slow.sort("offset"))
    assert isinstance(quick, pl.DataFrame)
