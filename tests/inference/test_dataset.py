"""A dataset must be the same whoever builds it, and hold nothing that it may not."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid5

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from uuid6 import uuid7

from inference.datasets.content import ContentHash
from inference.datasets.dataset import Dataset, build, finished, fixed_ranges
from inference.datasets.manifest import COLUMNS
from inference.datasets.sieve import Sieve
from inference.interactions import Interactions
from infra.kafka.facts import FactWriter
from infra.kafka.records import Decoder
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.envelope import Meta
from schemas.errors import Invalid
from schemas.identity import derived_id
from schemas.interactions import InteractionRecorded
from schemas.models import OffsetRange

START = datetime(2026, 1, 1, tzinfo=UTC)
FIRST = uuid5(derived_id("t", "k"), "0")


def table(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """Interactions as a replay gives them."""
    common = {"_topic": "interactions", "_partition": 0, "value": None, "decision_id": None, "_schema_id": 1}
    full = [
        common | {"_offset": i, "_id": str(uuid7()), "kind": "view", "occurred_at": START + timedelta(seconds=i)} | row
        for i, row in enumerate(rows)
    ]
    return pl.DataFrame(full, schema={**COLUMNS, "_schema_id": pl.Int64})


def sieved(tables: Sequence[pl.DataFrame], withdrawn: Sequence[str] = ()) -> Dataset:
    sieve = Sieve(withdrawn)
    for one in tables:
        sieve.take(one)
    return finished(sieve, [], "default")


rows = st.lists(
    st.fixed_dictionaries(
        {
            "user_id": st.sampled_from("abcd"),
            "item_id": st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4),
            "kind": st.sampled_from(["view", "skip", "rate"]),
            "value": st.none() | st.floats(allow_nan=False),
        }
    ),
    max_size=30,
)


@given(rows, st.lists(st.integers(0, 30), max_size=6))
def test_the_hash_does_not_depend_on_the_pieces(rows: list[dict[str, Any]], cuts: list[int]) -> None:
    """Batch sizes are an accident of the network; the hash and the rows may not show them."""
    whole = table(rows)
    bounds = sorted({0, len(whole), *(min(cut, len(whole)) for cut in cuts)})
    pieces = [whole[start:end] for start, end in pairwise(bounds)]
    one, many = sieved([whole], ["b"]), sieved(pieces, ["b"])
    assert one.manifest == many.manifest
    assert one.rows.equals(many.rows)


def test_any_change_changes_the_hash() -> None:
    """A hash that misses a moved border between two texts, a null or an order would prove nothing."""
    texts = {"a": pl.String}
    seen = set()
    for values in (["ab", "c"], ["a", "bc"], ["abc", ""], ["abc", None], ["c", "ab"], ["ab"], []):
        content = ContentHash(texts)
        content.update(pl.DataFrame({"a": values}, schema=texts))
        seen.add(content.hexdigest())
    assert len(seen) == 7


def test_lists_and_records_are_hashed_by_their_values() -> None:
    """Decisions hold lists of records; what is inside counts, and pieces do not."""
    kind = pl.List(pl.Struct({"item_id": pl.String, "score": pl.Float32}))
    values = [[{"item_id": "a", "score": 1.0}], [], None, [{"item_id": "b", "score": 2.0}] * 2]
    whole = pl.DataFrame({"items": values}, schema={"items": kind})

    def digest(*parts: pl.DataFrame) -> str:
        content = ContentHash(dict(whole.schema))
        for part in parts:
            content.update(part)
        return content.hexdigest()

    other = pl.DataFrame({"items": [*values[:3], values[3][:1]]}, schema={"items": kind})  # type: ignore[index]
    assert digest(whole) == digest(whole[:1], whole[1:3], whole[3:])
    assert digest(whole) != digest(other)


def test_what_is_left_out_is_counted() -> None:
    """An id that a client chose counts once, where it came first; skips and withdrawn users are not learnt from."""
    again = str(FIRST)
    found = sieved(
        [
            table([{"user_id": "a", "item_id": "x", "_id": again}, {"user_id": "a", "item_id": "y", "kind": "skip"}]),
            table([{"user_id": "a", "item_id": "z", "_id": again}, {"user_id": "gone", "item_id": "x"}]),
        ],
        ["gone"],
    )
    manifest = found.manifest
    assert found.rows["item_id"].to_list() == ["x"]
    assert (manifest.rows, manifest.duplicates, manifest.silent, manifest.withdrawn) == (1, 1, 1, 1)
    assert manifest.withdrawn_users == 1


@given(rows)
def test_models_are_fitted_on_the_same_columns(rows: list[dict[str, Any]]) -> None:
    """The fast way into `Interactions` gives what the plain one gives."""
    dataset = sieved([table(rows)])
    kept = dataset.rows
    plain = Interactions.of(
        kept["user_id"].to_list(),
        kept["item_id"].to_list(),
        [1.0] * len(kept),
        kept["occurred_at"].to_physical().to_list(),
    )
    fast = dataset.interactions
    assert (fast.users, fast.items) == (plain.users, plain.items)
    for name in ("user", "item", "weight", "occurred_at"):
        assert getattr(fast, name).tolist() == getattr(plain, name).tolist(), name
        assert getattr(fast, name).dtype == getattr(plain, name).dtype, name


async def fill(settings: Settings, decoder: Decoder, count: int, start: int = 0) -> None:
    """Interactions of some users, each tenth sent twice with its client's key."""
    async with FactWriter(settings, decoder.codec, linger_ms=5) as writer:
        facts = []
        for i in range(start, start + count):
            event = InteractionRecorded(
                user_id=f"u{i % 9}", item_id=f"i{i % 13}", kind="view", occurred_at=START + timedelta(minutes=i)
            )
            id = derived_id("default", str(i))
            meta = Meta(id=id, type=event.AVRO, source="test", subject=event.user_id, time=START)
            facts += [(event, meta)] * (2 if i % 10 == 0 else 1)
        await writer.append_all(facts)


async def test_the_same_ranges_give_the_same_dataset(settings: Settings) -> None:
    """Later events, the order in which partitions are named and a second reader change nothing."""
    decoder = await open_decoder(settings)
    await fill(settings, decoder, 400)
    ranges = await fixed_ranges(settings, ())
    first = await build(settings, decoder, ranges)
    await fill(settings, decoder, 50, start=1000)
    again = await build(settings, await open_decoder(settings), reversed(ranges))
    assert first.manifest == again.manifest
    assert (first.manifest.rows, first.manifest.duplicates) == (400, 40)
    assert first.rows.equals(again.rows)
    assert (await build(settings, decoder, await fixed_ranges(settings, ()))).manifest.rows == 450


async def test_ranges_that_make_no_dataset(settings: Settings) -> None:
    """A fold of consent that does not begin at the first event could miss a withdrawal, so it is refused."""
    decoder = await open_decoder(settings)
    late = OffsetRange(topic="profiles", partition=0, first=1, end=1)
    with pytest.raises(Invalid, match="begin at offset 0"):
        await build(settings, decoder, [late])
    with pytest.raises(Invalid, match="not of decisions"):
        await fixed_ranges(settings, [OffsetRange(topic="decisions", partition=0, first=0, end=0)])
