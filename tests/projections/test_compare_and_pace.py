"""Comparing two contents, and the pace of a fold: the parts that need no log."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import AsyncConnection

from infra.elastic import make_elastic
from infra.settings import Settings
from projections.attempt import fingerprint
from projections.batch import Batch
from projections.compare import Comparison, Difference, DocumentsOfIndex, RowsOfTable, compared
from projections.refill import Pace, batches_up_to
from projections.table import Table
from projections.testing import Log, batch_of
from projections.views import catalogue_search, popularity
from schemas.interactions import InteractionRecorded

from .telling import viewed

ROWS = [(f"i{n}", n, "2026-01-31T12:00:00Z") for n in range(300)]


async def table(database: AsyncConnection, settings: Settings, name: str, rows: list[tuple[str, int, str]]) -> Table:
    made = Table(popularity.VIEW, settings.postgres.db_schema, name)
    await made.create(database)
    async with database.cursor() as cursor:
        await cursor.executemany(f"INSERT INTO {name} VALUES (%s, %s, %s)".encode(), rows)
    return made


async def test_the_order_of_rows_does_not_count(database: AsyncConnection, settings: Settings) -> None:
    """Two folds of one log write their rows in different orders, and are the same."""
    shuffled = random.Random(1).sample(ROWS, len(ROWS))
    one, other = await table(database, settings, "one", ROWS), await table(database, settings, "other", shuffled)
    comparison = await compared("any", RowsOfTable(database, one), RowsOfTable(database, other))
    assert comparison.equal
    assert comparison.live_rows == len(ROWS)
    assert comparison.sample == ()


@pytest.mark.parametrize("fault", ["changed", "missing", "exchanged"])
async def test_one_wrong_row_is_found_and_shown(database: AsyncConnection, settings: Settings, fault: str) -> None:
    """Also when counts agree, and when all values are there but two have changed places."""
    wrong = list(ROWS)
    if fault == "missing":
        del wrong[7]
    elif fault == "changed":
        wrong[7] = ("i7", 8, ROWS[7][2])
    else:
        wrong[7], wrong[9] = ("i7", 9, ROWS[7][2]), ("i9", 7, ROWS[9][2])
    one, other = await table(database, settings, "one", ROWS), await table(database, settings, "other", wrong)
    comparison = await compared("any", RowsOfTable(database, one), RowsOfTable(database, other))
    assert not comparison.equal
    shown = {(one.side, '"i7"' in one.row or '"i9"' in one.row) for one in comparison.sample}
    assert shown == ({("live", True)} if fault == "missing" else {("live", True), ("fresh", True)})


async def test_the_sample_is_short_however_much_differs(database: AsyncConnection, settings: Settings) -> None:
    """Two tables that have nothing in common must not be printed."""
    one, other = await table(database, settings, "one", ROWS), await table(database, settings, "other", [])
    comparison = await compared("any", RowsOfTable(database, one), RowsOfTable(database, other))
    assert 0 < len(comparison.sample) <= 10
    assert {difference.side for difference in comparison.sample} == {"live"}


async def test_an_index_is_compared_as_it_was(settings: Settings) -> None:
    """Elasticsearch has no transactions: what is written while it is compared must not count."""
    async with make_elastic(settings) as client:
        name = f"{settings.elastic.index_prefix}compared"
        await client.indices.create(index=name, settings={"number_of_replicas": 0})
        await client.index(index=name, id="a", document={"n": 1})
        before = await DocumentsOfIndex.now(client, name, versions=True)
        await client.index(index=name, id="b", document={"n": 2}, refresh=True)
        after = await DocumentsOfIndex.now(client, name, versions=True)
        comparison = await compared("any", before, after)
        assert (comparison.live_rows, comparison.fresh_rows) == (1, 2)
        assert [one.side for one in comparison.sample] == ["fresh"]
        await before.close()
        await after.close()


@given(st.lists(st.tuples(st.sampled_from(["live", "fresh"]), st.text())), st.integers(0), st.text())
def test_a_comparison_is_read_as_it_was_written(sample: list[tuple[str, str]], rows: int, digest: str) -> None:
    """It is kept with the rebuild, and shown by other processes."""
    comparison = Comparison("any", rows, rows, digest, digest, tuple(Difference(*one) for one in sample))
    assert Comparison.of(comparison.document()) == comparison


@given(st.integers(1, 200), st.integers(1, 300))
def test_pieces_are_no_larger_than_a_second_of_the_pace(events: int, rate: int) -> None:
    """A capped rebuild writes little at a time, and misses nothing."""
    recorded = Log().of(*(viewed(f"u{n}") for n in range(events)))
    pieces = list(Pace(rate).pieces(batch_of(recorded)))
    assert all(len(piece) <= rate for piece in pieces)
    assert [r.position for piece in pieces for r in piece.recorded([InteractionRecorded])] == [
        r.position for r in recorded
    ]
    starts = [piece.first[0] for piece in pieces]
    assert starts[1:] == [piece.ends[0] for piece in pieces[:-1]]


class Script:
    """A reader that hands out what it was given."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self._batches = list(batches)

    async def read(self) -> Batch | None:
        return self._batches.pop(0) if self._batches else None


@given(st.lists(st.integers(0, 2), min_size=1, max_size=60), st.integers(1, 9), st.data())
async def test_a_fold_stops_exactly_at_its_targets(where: list[int], size: int, data: st.DataObject) -> None:
    """One partition is there, another is not yet, and the log grows meanwhile: nothing may be passed over."""
    log = Log()
    events = [log.add(viewed("ana"), partition=p) for p in where]
    log_ends = {p: where.count(p) for p in set(where)}
    targets = {p: data.draw(st.integers(0, end)) for p, end in log_ends.items()}
    first = dict.fromkeys(log_ends, 0)
    batches = [batch_of(events[start : start + size]) for start in range(0, len(events), size)]
    reached = {p: 0 for p, end in targets.items() if end}
    found = []
    async for batch in batches_up_to(Script(batches), reached, targets):  # type: ignore[arg-type]
        assert all(batch.first[p] == first[p] for p in batch.ends)
        first |= batch.ends
        found += batch.recorded([InteractionRecorded])
    assert first == targets
    expected = [event for event in events if event.position.offset < targets[event.position.partition]]
    assert sorted(found, key=lambda e: str(e.position)) == sorted(expected, key=lambda e: str(e.position))


def test_a_rebuild_knows_what_it_was_made_by() -> None:
    """Layout of a statement is no change, its meaning is; the same for documents."""
    view, index = popularity.VIEW, catalogue_search.INDEX
    assert fingerprint(view) == fingerprint(replace(view, apply=view.apply.replace("\n", " \n ")))
    assert fingerprint(view) != fingerprint(replace(view, apply=view.apply.replace("count(*)", "count(*) + 1")))
    assert fingerprint(index) != fingerprint(replace(index, mapping={**index.mapping, "dynamic": True}))
