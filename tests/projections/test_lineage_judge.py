"""Lineage judges by what is on record of a run; the datasets that are really built say whether it judges right."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid5

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from uuid6 import uuid7

from inference.datasets.dataset import Dataset, finished
from inference.datasets.manifest import COLUMNS
from inference.datasets.people import Erasures, refusing
from inference.datasets.sieve import Sieve
from projections.lineage.finding import spanned
from projections.lineage.judge import ROW, WORD, Matter, Recipe, chosen, judge
from schemas.identity import derived_id
from schemas.models import OffsetRange

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
PARTITION = {"a": 0, "b": 0, "c": 1}
"""Of each user."""
IDS = [str(uuid5(derived_id("t", "k"), str(number))) for number in range(3)]

facts = st.lists(
    st.fixed_dictionaries(
        {
            "user_id": st.sampled_from("abc"),
            "item_id": st.sampled_from("xyz"),
            "kind": st.sampled_from(["view", "skip"]),
            "_id": st.sampled_from([*IDS, None]),
        }
    ),
    max_size=20,
)
words = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["given", "withdrawn", "erased"])), max_size=6)
cuts = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(0, 1)), max_size=4)


def log(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """Interactions at the next offsets of their users' partitions."""
    ends = [0, 0]
    full = []
    for row in rows:
        partition = PARTITION[row["user_id"]]
        place = {"_topic": "interactions", "_partition": partition, "_offset": ends[partition], "_schema_id": 1}
        ends[partition] += 1
        full.append(row | place | {"_id": row["_id"] or str(uuid7()), "occurred_at": NOON})
    return pl.DataFrame(full, schema={**COLUMNS, "_schema_id": pl.Int64})


def said(spoken: Sequence[tuple[str, str]]) -> pl.DataFrame:
    """What people said, each in their partition of the profiles."""
    ends = [0, 0]
    rows = []
    for user, word in spoken:
        partition = PARTITION[user]
        rows.append({"_partition": partition, "_offset": ends[partition], "user_id": user, "word": word})
        ends[partition] += 1
    return pl.DataFrame(rows, schema=dict(WORD))


def ranges_of(found: Sequence[tuple[int, int, int]], profiles: Sequence[int]) -> tuple[OffsetRange, ...]:
    """Ranges that do not overlap, and as much of the profiles as was known."""
    ends = {0: 0, 1: 0}
    parts = []
    for first, length, partition in sorted(found):
        start = max(first, ends[partition])
        ends[partition] = start + length
        parts.append(OffsetRange(topic="interactions", partition=partition, first=start, end=start + length))
    return (*parts, *(OffsetRange(topic="profiles", partition=p, first=0, end=e) for p, e in enumerate(profiles)))


def built(table: pl.DataFrame, spoken: pl.DataFrame, recipe: Recipe) -> Dataset:
    """The dataset, by the code that trainers build it with."""
    ends = {part.partition: part.end for part in recipe.ranges if part.topic == "profiles"}
    known = spoken.filter(
        pl.struct("_partition", "_offset").map_elements(
            lambda at: at["_offset"] < ends.get(at["_partition"], 0), return_dtype=pl.Boolean
        )
    )
    consents = known.filter(pl.col("word") != "erased").with_columns(given=pl.col("word") == "given")
    gone = {part.partition: part.end for part in recipe.erasures}
    erased = {
        user
        for partition, offset, user, word in spoken.iter_rows()
        if word == "erased" and offset < gone.get(partition, 0)
    }
    sieve = Sieve(refusing(consents), Erasures((), frozenset(erased)), silent=recipe.silent_kinds)
    for part in recipe.ranges:
        if part.topic == "interactions":
            at = (pl.col("_partition") == part.partition) & pl.col("_offset").is_between(part.first, part.end - 1)
            sieve.take(table.filter(at))
    return finished(sieve, recipe.ranges, "default")


@given(
    facts, words, cuts, st.tuples(st.integers(0, 4), st.integers(0, 4)), st.tuples(st.integers(0, 6), st.integers(0, 6))
)
def test_what_is_said_of_a_run_is_what_its_dataset_holds(
    rows: list[dict[str, Any]],
    spoken: list[tuple[str, str]],
    found: list[tuple[int, int, int]],
    profiles: tuple[int, int],
    erasures: tuple[int, int],
) -> None:
    """Repeats, silent kinds, consent and erasure at the run's own positions: for every person, item and range."""
    table, people = log(rows), said(spoken)
    gone = tuple(OffsetRange(topic="profiles", partition=p, first=0, end=e) for p, e in enumerate(erasures))
    recipe = Recipe(ranges_of(found, profiles), gone, ("skip",))
    dataset = built(table, people, recipe).rows
    plain = table.select(pl.col(name).cast(kind) for name, kind in ROW.items())
    for wanted in (
        *(pl.col("user_id") == user for user in "abc"),
        *(pl.col("item_id") == item for item in "xyz"),
        (pl.col("_partition") == 0) & pl.col("_offset").is_between(2, 5),
    ):
        asked = plain.filter(wanted)
        ids = chosen(asked).select("_id", "user_id").unique()
        verdict = judge(recipe, Matter(asked, plain.join(ids, on=["_id", "user_id"], how="semi"), people))
        held = dataset.filter(wanted)
        assert verdict.rows == len(held)
        assert verdict.users == held["user_id"].n_unique()
        assert verdict.rows + sum(verdict.left_out.values()) == len(asked)
        if len(held):
            ends = held.sort("_partition", "_offset")
            assert verdict.first == f"interactions/{ends['_partition'][0]}/{ends['_offset'][0]}"


def test_what_is_searched_is_what_versions_have_read() -> None:
    """A part of the log that no version has read is not searched, nor one that is no longer there."""
    read = ranges_of([(5, 10, 0), (30, 5, 0)], [3, 3])
    whole = [OffsetRange(topic="interactions", partition=p, first=7, end=33) for p in (0, 1)]
    assert spanned(read, whole) == [OffsetRange(topic="interactions", partition=0, first=7, end=33)]
