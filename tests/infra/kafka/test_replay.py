"""Replay on a real broker: exactly the ranges asked for, and nothing else."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import polars as pl
import pytest
from confluent_kafka import Producer
from uuid6 import uuid7

from infra.kafka.connect import librdkafka_options
from infra.kafka.ranges import ranges_between, ranges_now
from infra.kafka.records import Decoder
from infra.kafka.replay import Progress, recorded, replay
from infra.kafka.topics import physical
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.envelope import Meta
from schemas.errors import Invalid, NotFound
from schemas.interactions import InteractionRecorded
from schemas.models import OffsetRange
from schemas.profiles import ConsentWithdrawn

from ...eventually import eventually

NAME = InteractionRecorded.AVRO


@pytest.fixture
async def decoder(settings: Settings) -> Decoder:
    return await open_decoder(settings)


def interaction(i: int) -> InteractionRecorded:
    return InteractionRecorded(
        user_id=f"u{i % 7}", item_id=f"i{i}", kind="view", occurred_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(i)
    )


def fill(settings: Settings, decoder: Decoder, count: int, **options: Any) -> None:
    """Interactions 0, 1, 2 ... in the order that their partitions get them."""
    producer = Producer(librdkafka_options(settings.kafka) | {"partitioner": "murmur2_random", **options})
    for i in range(count):
        event = interaction(i)
        meta = Meta(id=uuid7(), type=NAME, source="test", subject=event.user_id, time=datetime.now(UTC))
        producer.produce(
            physical(settings, "interactions"),
            decoder.codec.encode(event),
            key=event.user_id,
            headers=[*meta.headers(), *([("traceparent", b"x")] if i % 50 == 3 else [])],
            timestamp=1_700_000_000_000 + i * 1000,
        )
    producer.flush()


async def pieces(source: AsyncIterator[dict[str, pl.DataFrame]]) -> pl.DataFrame:
    return pl.concat([table async for tables in source for table in tables.values()])


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd", "gzip", "snappy"])
async def test_columns_and_single_events_agree(settings: Settings, decoder: Decoder, compression: str) -> None:
    """What producers of any compression wrote comes back whole, in log order, by both ways of reading."""
    options = {"compression.type": compression, "batch.num.messages": 37, "linger.ms": 5}
    fill(settings, decoder, 500, **options)
    ranges = await ranges_now(settings, ["interactions"])
    assert sum(part.end for part in ranges) == 500
    told: list[Progress] = []
    table = await pieces(replay(settings, decoder, reversed(ranges), report=told.append))
    singles = [one async for one in recorded(settings, decoder, ranges)]
    assert len(table) == len(singles) == 500
    assert table["item_id"].to_list() == [one.event.item_id for one in singles]
    assert table["_id"].to_list() == [str(one.meta.id) for one in singles]
    assert table["_time"].to_list() == [one.meta.time for one in singles]
    assert table["occurred_at"].to_list() == [one.event.occurred_at for one in singles]
    places = list(table.select("_partition", "_offset").iter_rows())
    assert places == sorted(places) == [(one.position.partition, one.position.offset) for one in singles]
    assert (told[-1].done, told[-1].total) == (500, 500)


async def test_a_range_is_exact(settings: Settings, decoder: Decoder) -> None:
    """First and end cut through batches; what others append meanwhile does not come along."""
    fill(settings, decoder, 300)
    whole = max(await ranges_now(settings, ["interactions"]), key=lambda part: part.end)
    part = OffsetRange(topic="interactions", partition=whole.partition, first=5, end=whole.end - 3)
    fill(settings, decoder, 100)
    table = await pieces(replay(settings, decoder, [part]))
    assert table["_offset"].to_list() == list(range(5, whole.end - 3))
    of_one = await pieces(replay(settings, decoder, [part], keys=[table["_key"][0]]))
    assert set(of_one["user_id"]) == {table["_key"][0]}
    nothing = [t async for t in replay(settings, decoder, [part], types={ConsentWithdrawn.AVRO})]
    assert nothing == []


async def test_time_bounds(settings: Settings, decoder: Decoder) -> None:
    """From and to as times: when the broker took the records in decides, whatever the producer says."""
    bounds: list[datetime] = []
    for count in (20, 30, 50):
        fill(settings, decoder, count)
        await asyncio.sleep(0.005)
        bounds.append(datetime.now(UTC))
    ranges = await ranges_between(settings, ["interactions"], bounds[0], bounds[1])
    table = await pieces(replay(settings, decoder, ranges))
    assert sorted(int(item[1:]) for item in table["item_id"]) == list(range(30))


async def test_what_transactions_left_behind(settings: Settings, decoder: Decoder) -> None:
    """Aborted events never count, and a range may end in the markers of a transaction."""
    producer = Producer(librdkafka_options(settings.kafka) | {"transactional.id": f"t{uuid4().hex}"})
    producer.init_transactions(60)
    for aborted in (False, True, False):
        producer.begin_transaction()
        for i in range(20):
            event = interaction(100 if aborted else i)
            meta = Meta(id=uuid7(), type=NAME, source="test", subject="k", time=datetime.now(UTC))
            producer.produce(
                physical(settings, "interactions"), decoder.codec.encode(event), key="k", headers=list(meta.headers())
            )
        producer.flush(60)
        producer.abort_transaction(60) if aborted else producer.commit_transaction(60)

    async def whole() -> list[OffsetRange]:  # what a commit makes visible may take a moment
        return [part for part in await ranges_now(settings, ["interactions"]) if part.end >= 63]

    ranges = await eventually(whole)
    table = await pieces(replay(settings, decoder, ranges))
    assert len(table) == 40
    assert "i100" not in set(table["item_id"])
    assert ranges[0].end == 63  # 60 records and the marker of each transaction


async def test_void_records_are_left_out(settings: Settings, decoder: Decoder) -> None:
    """The rule holds in a replay too: an event that stands elsewhere than expected is no event."""
    event = ConsentWithdrawn(user_id="u", purpose="training")
    producer = Producer(librdkafka_options(settings.kafka) | {"partitioner": "murmur2_random"})
    for expected in (0, 1, 1, 3):
        meta = Meta(
            id=uuid7(), type=event.AVRO, source="t", subject="u", time=datetime.now(UTC), expected_offset=expected
        )
        producer.produce(
            physical(settings, "profiles"), decoder.codec.encode(event), key="u", headers=list(meta.headers())
        )
        producer.flush()
    ranges = await ranges_now(settings, ["profiles"])
    assert (await pieces(replay(settings, decoder, ranges)))["_offset"].to_list() == [0, 1, 3]


async def test_ranges_outside_the_log(settings: Settings, decoder: Decoder) -> None:
    """Each fault of a range is told in one sentence before anything is read."""
    fill(settings, decoder, 20)
    whole = max(await ranges_now(settings, ["interactions"]), key=lambda part: part.end)

    async def told(**change: Any) -> str:
        part = replace(whole, **change)
        with pytest.raises((Invalid, NotFound)) as caught:
            await pieces(replay(settings, decoder, [part]))
        return caught.value.code

    assert await told(end=whole.end + 1) == "range_past_end"
    assert await told(first=4, end=3) == "bad_range"
    assert await told(partition=99) == "unknown_partition"
    assert await told(topic="nothing") == "unknown_topic"
    twice = [whole, OffsetRange(topic=whole.topic, partition=whole.partition, first=1, end=2)]
    with pytest.raises(Invalid, match="overlap"):
        await pieces(replay(settings, decoder, twice))
