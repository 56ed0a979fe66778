"""Past one machine: Spark finds the same rows in the log as we do, and a model that it fits serves like ours."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pyspark.sql import SparkSession
from uuid6 import uuid7

import console.spark
from console.spark import Wanted, on_spark
from inference.datasets.dataset import Asked, Dataset, build, fixed_ranges
from inference.datasets.filters import Filters
from inference.scorer import OnnxScorer
from inference.spark import als
from inference.spark.content import Written, written
from inference.spark.log import Log
from inference.spark.rows import Rows
from infra.kafka.facts import FactWriter
from infra.kafka.partitioner import partition_of
from infra.kafka.records import Decoder
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from infra.spark import session
from schemas.catalog import ItemAdded, ItemChanged
from schemas.envelope import Meta
from schemas.errors import Gone, Incompatible
from schemas.identity import derived_id
from schemas.interactions import InteractionRecorded, RatingRecorded
from schemas.models import OffsetRange
from schemas.profiles import ConsentGiven, ConsentWithdrawn, UserErased

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(900),
]  # a Java process and Spark's plans take their time on a busy machine

SMALL = {
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.shuffle.partitions": "2",
}
"""Compiling a plan takes longer than running it over a few hundred rows."""
START = datetime(2026, 1, 1, tzinfo=UTC)
KINDS = ("view", "rate", "skip", "purchase")


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    """One for all tests here: a Java process takes its time."""
    with session(Settings(), cores=2, heap_mb=768, options=SMALL) as found:
        yield found


def interaction(number: int) -> InteractionRecorded:
    return InteractionRecorded(
        user_id=f"ü{number % 11}",
        item_id=f"i{number * 7 % 17}",
        kind=KINDS[number % 4],  # type: ignore[arg-type]
        value=None if number % 3 else number / 10,
        occurred_at=START + timedelta(minutes=number, microseconds=number),
        decision_id=None if number % 5 else f"d{number}",
    )


async def fill(settings: Settings, decoder: Decoder) -> None:
    """Interactions, some sent twice, one of another tenant; consent, an erasure and items, each after a void record."""
    facts: list[tuple[Any, Meta]] = []
    for number in range(300):
        event = interaction(number)
        tenant = "other" if number == 13 else "default"
        chosen = number % 10 == 0
        id = derived_id("default", str(number)) if chosen else uuid7()
        meta = Meta(id=id, type=event.AVRO, source="test", subject=event.user_id, time=START, tenant=tenant)
        facts += [(event, meta)] * (2 if chosen else 1)
    decided: list[Any] = [
        ConsentWithdrawn(user_id="ü1", purpose="training"),
        ConsentWithdrawn(user_id="ü2", purpose="training"),
        ConsentGiven(user_id="ü2", purpose="training"),
        ConsentWithdrawn(user_id="ü3", purpose="personalisation"),
        UserErased(user_id="ü4", reason="r"),
        *(ItemAdded(item_id=f"i{n}", title="t", categories=("Action", "Drama")[: 1 + n % 2]) for n in range(17)),
        ItemChanged(item_id="i1", categories=("War",)),
    ]
    places: defaultdict[tuple[str, int], Iterator[int]] = defaultdict(count)
    for one in decided:
        topic, key = ("profiles", one.user_id) if hasattr(one, "user_id") else ("catalog", one.item_id)
        place = (topic, partition_of(key, settings.kafka.partitions))
        refusal = ConsentWithdrawn(user_id=key, purpose="training")
        void = refusal if topic == "profiles" else ItemChanged(item_id=key, categories=("Drama",))
        facts.append((void, about(void, key, next(places[place]) + 1)))
        facts.append((one, about(one, key, next(places[place]))))
    async with FactWriter(settings, decoder.codec, linger_ms=5) as writer:
        await writer.append_all(facts)


def about(event: Any, key: str, expected_offset: int) -> Meta:
    """What stands around a decided event."""
    return Meta(
        id=uuid7(),
        type=event.AVRO,
        source="test",
        subject=key,
        time=START,
        expected_offset=expected_offset,
        command_offset=0,
    )


@pytest.fixture
async def log(settings: Settings) -> Decoder:
    decoder = await open_decoder(settings)
    await fill(settings, decoder)
    return decoder


async def by_spark(spark: SparkSession, settings: Settings, dataset: Dataset, folder: Path) -> Written:
    return written(await Rows(Log(spark, settings), dataset.manifest).table(), folder)


FILTERS = Filters(
    kinds=("view", "rate"),
    categories=("Drama", "War"),
    without_items=("i3",),
    without_users=("ü9",),
    since=START + timedelta(minutes=20),
    until=START + timedelta(minutes=280),
    min_value=2.0,
    max_value=28.0,
    min_per_user=2,
    min_per_item=2,
)


async def test_spark_finds_the_same_rows_and_fits_on_them(
    settings: Settings, log: Decoder, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same hash by other means: exact offsets, framing, void records, tenants, duplicates, consent and erasure."""
    monkeypatch.setattr(console.spark, "session", lambda *_, **__: nullcontext(spark))
    ours = await build(settings, log, await fixed_ranges(settings, ()))
    left_out = ours.manifest
    assert min(left_out.duplicates, left_out.silent, left_out.withdrawn, left_out.erased) > 0
    asked = Wanted(tmp_path, als=True, params={"rank": 4, "iterations": 2, "blocks": 1}, k=5, cores=2, heap_mb=768)
    outcome = await on_spark(settings, "m", ours.manifest, asked)
    assert outcome.identical
    assert pl.read_parquet(tmp_path / "rows" / "*.parquet").height == ours.manifest.rows
    assert set(outcome.metrics) == {"spark-als", "ials", "popularity"}
    assert OnnxScorer((tmp_path / "model.onnx").read_bytes()).metadata.model == "spark-als"


async def test_spark_does_not_call_other_rows_the_same(
    settings: Settings, log: Decoder, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it guess at events that it cannot read, or read past the log."""
    monkeypatch.setattr(console.spark, "session", lambda *_, **__: nullcontext(spark))
    asked = Wanted(None, als=False, params={}, k=5, cores=2, heap_mb=768)
    manifest = (await build(settings, log, await fixed_ranges(settings, ()))).manifest
    outcome = await on_spark(settings, "m", replace(manifest, sha256="0" * 64), asked)
    assert not outcome.identical
    assert outcome.verdict.startswith("NOT identical: Spark found")
    past = replace(manifest, ranges=tuple(replace(part, end=part.end + 1) for part in manifest.ranges))
    with pytest.raises(Gone, match="past the end of the log"):
        await on_spark(settings, "m", past, asked)
    old = RatingRecorded(user_id="ü1", item_id="i1", rating=4.0, rated_at=START)
    async with FactWriter(settings, log.codec) as writer:
        await writer.append(old, Meta(id=uuid7(), type=old.AVRO, source="test", subject="ü1", time=START))
    with pytest.raises(Incompatible, match="RatingRecorded, an old form"):
        await on_spark(settings, "m", replace(manifest, ranges=await fixed_ranges(settings, ())), asked)


async def test_spark_asks_for_the_same(settings: Settings, log: Decoder, spark: SparkSession, tmp_path: Path) -> None:
    """Every filter at once, and ranges with a gap in each partition: offsets in between may not slip in."""
    parts: list[OffsetRange] = []
    for part in await fixed_ranges(settings, ()):
        third = (part.end - part.first) // 3
        ends = [(part.first, part.end)] if part.topic == "profiles" else [(0, third), (third + 2, part.end - 1)]
        parts += [OffsetRange(topic=part.topic, partition=part.partition, first=a, end=b) for a, b in ends if b > a]
    ours = await build(settings, log, parts, asked=Asked(filters=FILTERS))
    assert min(ours.manifest.rows, ours.manifest.filtered, ours.manifest.thinned) > 0
    theirs = await by_spark(spark, settings, ours, tmp_path / "some")
    assert theirs.agrees(ours.manifest)


def test_a_model_of_spark_answers_as_spark_does(spark: SparkSession, tmp_path: Path) -> None:
    """The common signature, and a user folded in from the history scores what Spark's own factors say."""
    rng = np.random.default_rng(3)
    met = sorted({(int(u), int(i)) for u, i in zip(rng.integers(0, 40, 500), rng.zipf(1.4, 500) % 30, strict=True)})
    table = pl.DataFrame({"user_id": [f"u{u:02}" for u, _ in met], "item_id": [f"i{i:02}" for _, i in met]})
    table.write_parquet(tmp_path / "rows.parquet")
    params = als.AlsParams(rank=6, iterations=4, blocks=1, steps=24)
    fitted = als.fit(spark.read.parquet(str(tmp_path / "rows.parquet")), params)
    scorer = OnnxScorer(als.artifact(fitted, params, k=30))
    for user in (0, 7, 23):
        history = table.filter(pl.col("user_id") == fitted.users[user])["item_id"].to_list()
        expected = fitted.factors @ fitted.user_factors[user] * params.alpha / (1 + params.alpha)
        answer = dict(scorer.score(history))
        assert answer
        for item, score in answer.items():
            assert score == pytest.approx(float(expected[fitted.items.index(item)]), abs=2e-3)
