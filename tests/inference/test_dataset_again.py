"""A manifest is worth what building it again shows; and where that cannot be done, what can is said."""

import asyncio
import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from uuid6 import uuid7

import infra.kafka.replay
from inference.datasets.again import find, verify
from inference.datasets.dataset import Asked, Dataset, build, fixed_ranges
from inference.datasets.filters import Filters, filters_of
from inference.datasets.frames import Format, written
from inference.datasets.manifest import Manifest, parse
from inference.datasets.shelf import keep
from infra.kafka.facts import FactWriter
from infra.kafka.partitioner import partition_of
from infra.kafka.records import Decoder
from infra.registry.enlist import open_decoder
from infra.settings import Settings, child_environment
from schemas.catalog import ItemAdded
from schemas.envelope import Meta
from schemas.errors import Gone, Invalid, NotFound
from schemas.identity import derived_id
from schemas.interactions import InteractionRecorded
from schemas.models import OffsetRange
from schemas.profiles import UserErased

from ..cutting import cut

ROOT = Path(__file__).resolve().parents[2]
START = datetime(2026, 1, 1, tzinfo=UTC)
FEATURES = ("item_catalogue", "item_popularity", "item_trend", "user_interactions", "user_profile")


def about(event: Any, key: str, **more: Any) -> Meta:
    return Meta(**{"id": uuid7(), "type": event.AVRO, "source": "test", "subject": key, "time": START, **more})


async def say(settings: Settings, decoder: Decoder, facts: Iterable[tuple[Any, Meta]]) -> None:
    async with FactWriter(settings, decoder.codec, linger_ms=5) as writer:
        await writer.append_all(list(facts))


async def fill(settings: Settings, decoder: Decoder, count: int = 240, start: int = 0) -> None:
    """An item, and interactions of twelve people, each tenth sent twice."""
    item = ItemAdded(item_id="i1", title="One", categories=("Drama",))
    facts: list[tuple[Any, Meta]] = [(item, about(item, "i1", expected_offset=0, command_offset=0))]
    for i in range(start, start + count):
        event = InteractionRecorded(
            user_id=f"u{i % 12}", item_id=f"i{i % 7}", kind="view", occurred_at=START + timedelta(minutes=i)
        )
        facts += [(event, about(event, event.user_id, id=derived_id("t", str(i))))] * (2 if i % 10 == 0 else 1)
    await say(settings, decoder, facts)


async def erase(settings: Settings, decoder: Decoder, user_id: str) -> None:
    event = UserErased(user_id=user_id, reason="r")
    await say(settings, decoder, [(event, about(event, user_id, expected_offset=0, command_offset=0))])


@pytest.fixture
async def decoder(settings: Settings) -> Decoder:
    found = await open_decoder(settings)
    await fill(settings, found)
    return found


async def featured(settings: Settings, decoder: Decoder, **asked: Any) -> Dataset:
    ranges = await fixed_ranges(settings, ())
    return await build(settings, decoder, ranges, asked=Asked(features=FEATURES, **asked))


async def test_the_same_manifest_gives_the_same_bytes(
    settings: Settings, decoder: Decoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither workers nor pieces nor the order of partitions may show, in rows, features, manifest or files."""
    first = await featured(settings, decoder, workers=1)
    manifest = parse(first.manifest.as_json())
    written(first, tmp_path / "0", Format.parquet)
    for number, (workers, size) in enumerate([(2, 7), (5, 50), (3, 1 << 16)], 1):
        monkeypatch.setattr(infra.kafka.replay, "SLICE", size)
        shuffled = replace(manifest, ranges=tuple(reversed(manifest.ranges)))
        asked = Asked.again(shuffled, workers)
        again = await build(settings, await open_decoder(settings), shuffled.ranges, asked=asked)
        assert again.manifest.as_json() == first.manifest.as_json()
        written(again, tmp_path / str(number), Format.parquet)
        for name in ("rows.parquet", "manifest.json"):
            assert (tmp_path / str(number) / name).read_bytes() == (tmp_path / "0" / name).read_bytes()


async def test_later_events_change_nothing(settings: Settings, decoder: Decoder) -> None:
    """A dataset is of a part of the log: what comes after, even for the same items, leaves it identical."""
    dataset = await featured(settings, decoder)
    await fill(settings, decoder, 60, start=1000)
    comparison, _ = await verify(settings, decoder, "m", dataset.manifest)
    assert comparison.identical
    assert comparison.verdict.startswith("identical: 240 rows")


async def test_rows_of_erased_people_are_missed_and_told(settings: Settings, decoder: Decoder) -> None:
    """Never identical; how many rows are gone, and which ranges still are what they were."""
    dataset = await build(settings, decoder, await fixed_ranges(settings, ()))
    await erase(settings, decoder, "u3")
    comparison, again = await verify(settings, decoder, "m", dataset.manifest)
    assert not comparison.identical
    assert (comparison.lost, again.manifest.rows) == (20, 220)
    assert "cannot be made again: 20 of its interactions are of people who have been erased since" in comparison.verdict
    assert "3 of 4 ranges are still identical" in comparison.verdict
    assert partition_of("u3", 4) not in {part.range.partition for part in comparison.same_parts}


async def test_features_that_counted_people_erased_since(settings: Settings, decoder: Decoder) -> None:
    """The rows are of others and still the same, but how popular an item was is not; both have to be said."""
    await fill(settings, decoder, 120, start=1000)
    dataset = await featured(settings, decoder, filters=Filters(without_users=("u3",)))
    await erase(settings, decoder, "u3")
    comparison, again = await verify(settings, decoder, "m", dataset.manifest)
    assert again.manifest.sha256 == dataset.manifest.sha256
    assert not comparison.identical
    assert "its 330 rows are identical, its features cannot be made again" in comparison.verdict


async def test_a_difference_is_not_put_down_to_an_erasure(settings: Settings, decoder: Decoder) -> None:
    """When more is missing than erasures explain, something else has happened, and that is what must be said."""
    dataset = await build(settings, decoder, await fixed_ranges(settings, ()))
    await erase(settings, decoder, "u3")
    forged = replace(dataset.manifest, rows=dataset.manifest.rows + 1, sha256="0" * 64)
    comparison, _ = await verify(settings, decoder, "m", forged)
    assert comparison.verdict.startswith("NOT identical: ")
    assert "sha256" in comparison.differing


async def test_ranges_that_the_log_does_not_hold(settings: Settings, decoder: Decoder) -> None:
    """Past its end or before its start: in a sentence, with what can still be done."""
    manifest = (await build(settings, decoder, await fixed_ranges(settings, ()))).manifest
    longer = replace(manifest, ranges=tuple(replace(part, end=part.end + 10_000) for part in manifest.ranges))
    with pytest.raises(Gone, match=r"m cannot be made again from this log: .*past the end.* can still be held against"):
        await verify(settings, decoder, "m", longer)
    elsewhere = OffsetRange(topic="interactions", partition=77, first=0, end=1)
    with pytest.raises(Gone, match="no partition interactions/77"):
        await verify(settings, decoder, "m", replace(manifest, ranges=(*manifest.ranges, elsewhere)))
    cut_one = [part for part in manifest.ranges if part.partition == partition_of("u3", 4)]
    await cut(settings, "interactions", lambda _: 2, cut_one)
    with pytest.raises(Gone, match=r"before the start of the log.* can still be held against"):
        await verify(settings, decoder, "m", manifest)


async def test_what_is_kept_is_found_by_its_hashes(settings: Settings, decoder: Decoder, tmp_path: Path) -> None:
    """Two recipes may give the same rows: each keeps its manifest, and neither takes the other's place."""
    ranges = await fixed_ranges(settings, ())
    plain = await build(settings, decoder, ranges)
    idle = await build(settings, decoder, ranges, asked=Asked(filters=Filters(kinds=("view",))))
    assert plain.manifest.sha256 == idle.manifest.sha256
    assert plain.manifest.recipe_sha256 != idle.manifest.recipe_sha256
    for dataset in (plain, idle):
        keep(settings, dataset)
        assert find(settings, dataset.manifest.recipe_sha256[:12]) == dataset.manifest
    assert find(settings, plain.manifest.sha256) == plain.manifest
    (tmp_path / "manifest.json").write_text(idle.manifest.as_json())
    assert find(settings, str(tmp_path)) == idle.manifest
    with pytest.raises(NotFound, match="retrace dataset build"):
        find(settings, "abcdef123456")


async def test_a_manifest_of_somebody_else(settings: Settings, decoder: Decoder) -> None:
    """Rows depend on the tenant, so that is part of what is asked for."""
    manifest = (await build(settings, decoder, await fixed_ranges(settings, ()))).manifest
    with pytest.raises(Invalid, match="RETRACE_TENANT=other"):
        await verify(settings, decoder, "m", replace(manifest, tenant="other"))


async def test_the_exit_status_is_what_was_found(settings: Settings, decoder: Decoder, tmp_path: Path) -> None:
    """Scripts look at nothing else."""
    dataset = await build(settings, decoder, await fixed_ranges(settings, ()))
    path = tmp_path / "manifest.json"
    path.write_text(dataset.manifest.as_json())
    status, said = await retrace(settings, "dataset", "verify", str(path), "-o", "json")
    assert (status, json.loads(said)["identical"]) == (0, True)
    path.write_text(replace(dataset.manifest, sha256="0" * 64).as_json())
    assert (await retrace(settings, "dataset", "export", str(path), "--out", str(tmp_path / "out")))[0] == 1
    assert not (tmp_path / "out").exists()
    assert (await retrace(settings, "dataset", "verify", str(path), "-o", "json"))[0] == 1


async def retrace(settings: Settings, *arguments: str) -> tuple[int | None, bytes]:
    """The command, with its exit status and standard output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "console", *arguments),
        env=child_environment(settings) | {"PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    said, _ = await process.communicate()
    return process.returncode, said


def manifest() -> Manifest:
    return Manifest((), ("skip",), (1,), 0, 0, 0, 0, 0, (), 0, 0, 0, "0" * 64)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no manifest that can be read"),
        ('{"rows": 1}', "its format is not one of 2, 3"),
        (json.dumps(manifest().as_dict() | {"rows": "many"}), "no manifest that can be read"),
        (json.dumps(manifest().as_dict() | {"filters": {"colour": "red"}}), "no filter colour: known are kinds"),
        (json.dumps(manifest().as_dict() | {"filters": {"kinds": ["wish"]}}), "no kind wish"),
        (json.dumps(manifest().as_dict() | {"silent_kinds": []}), "changed after it was written"),
    ],
)
def test_a_manifest_that_is_none(text: str, said: str) -> None:
    """Told in a sentence, not in a traceback, and never built from in part."""
    with pytest.raises(Invalid, match=said):
        parse(text)


def test_a_manifest_of_before_filters_is_read() -> None:
    """Those of earlier runs lie in the store."""
    old = json.loads(manifest().as_json()) | {"format": 2}
    for name in ("filters", "filtered", "thinned", "users", "items", "parts", "features", "known", "tenant"):
        del old[name]
    del old["recipe_sha256"]
    assert parse(json.dumps(old)) == replace(manifest(), format=2)


names = st.lists(st.sampled_from("abcd"), max_size=3).map(tuple)
filters = st.builds(
    Filters,
    kinds=st.lists(st.sampled_from(["view", "rate"]), max_size=2).map(tuple),
    items=names,
    users=names,
    without_items=names,
    since=st.none() | st.just(START + timedelta(seconds=3)),
    until=st.none() | st.just(START + timedelta(seconds=20)),
    min_value=st.none() | st.just(2.0),
    max_value=st.none() | st.just(4.0),
)
row = st.tuples(
    st.sampled_from("abcd"),
    st.sampled_from("abcd"),
    st.sampled_from(["view", "rate"]),
    st.none() | st.integers(0, 5).map(float),
    st.integers(0, 30),
)


@given(filters, st.lists(row, max_size=20))
def test_filters_ask_what_their_names_say(asked: Filters, rows: list[Any]) -> None:
    """Against the same written out for one row."""
    moments = [START + timedelta(seconds=row[4]) for row in rows]
    columns = dict(
        zip(("user_id", "item_id", "kind", "value"), zip(*(row[:4] for row in rows), strict=True), strict=False)
    )
    kinds = {"user_id": pl.String, "item_id": pl.String, "kind": pl.String, "value": pl.Float64}
    table = pl.DataFrame({name: columns.get(name, ()) for name in kinds}, schema=kinds)
    found = table.with_columns(occurred_at=pl.Series(moments, dtype=pl.Datetime("us", "UTC"))).filter(asked.keep())
    kept = [row[:4] for row, moment in zip(rows, moments, strict=True) if wanted(asked, row, moment)]
    assert found.select(*kinds).rows() == kept


def wanted(asked: Filters, row: Any, moment: datetime) -> bool:
    user, item, kind, value, _ = row
    chosen = ((kind, asked.kinds), (item, asked.items), (user, asked.users))
    return (
        all(not names or name in names for name, names in chosen)
        and item not in asked.without_items
        and (asked.since is None or moment >= asked.since)
        and (asked.until is None or moment < asked.until)
        and (asked.min_value is None or (value is not None and value >= asked.min_value))
        and (asked.max_value is None or (value is not None and value <= asked.max_value))
    )


def test_a_core_is_asked_for_until_nothing_falls_out() -> None:
    """A user who loses an item may fall under the bound, which may take another item along."""
    pairs = [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y"), ("c", "y"), ("c", "z")]
    rows = pl.DataFrame(pairs, schema=["user_id", "item_id"], orient="row")
    kept = Filters(min_per_user=2, min_per_item=2).core(rows)
    assert kept.rows() == pairs[:4]
    assert len(Filters(min_per_user=3).core(rows)) == 0


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"until": "2026-01-01T00:00:00"}, "time zone"),
        ({"min_value": 5.0, "max_value": 1.0}, "no greater than the second"),
        ({"min_value": float("nan")}, "must be numbers"),
        ({"min_per_user": -1}, "0 or more"),
        ({"shoes": 1}, "no filter shoes: known are kinds"),
    ],
)
def test_filters_that_make_no_sense(values: dict[str, Any], said: str) -> None:
    """A filter that is silently ignored gives another dataset than was asked for."""
    with pytest.raises(Invalid, match=said):
        filters_of(values)
