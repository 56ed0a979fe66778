"""Both ways of reading give the same events: an index that misses one would make an explanation of another history."""

import contextlib
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import infra.index.reading
from infra.health import Health
from infra.index.reading import Reading, plan
from infra.index.signatures import Signatures, signature, signatures
from infra.kafka.at import spans
from infra.kafka.facts import FactWriter
from infra.kafka.fetch import open_client
from infra.kafka.pick import pick
from infra.kafka.ranges import ranges_now
from infra.kafka.records import Decoder
from infra.postgres import connect
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from projections import runner
from projections.views import event_index
from schemas.envelope import Recorded
from schemas.interactions import InteractionRecorded

from ..eventually import eventually
from ..roles import running
from .town import meta

USERS = [f"user {number}" for number in range(6)]
values = st.lists(st.sampled_from([0, 1, 2, *map(signature, USERS)]), max_size=400)


@given(values=values, keys=st.sets(st.sampled_from(USERS)), first=st.integers(0, 100))
def test_whatever_may_be_of_a_key_is_read(values: list[int], keys: set[str], first: int) -> None:
    """Every offset that the index does not know to be of another key is picked or scanned."""
    found = plan(Signatures(np.array(values, np.uint32)), keys, first, len(values))
    read = set(found.picks.tolist()).union(*(range(*stretch) for stretch in found.scans))
    mine = {signature(key) for key in keys}
    wanted = {place for place, value in enumerate(values) if place >= first and (value == 0 or value in mine)}
    assert wanted <= read
    assert all(first <= place < len(values) for place in read)


@given(offsets=st.sets(st.integers(0, 200)), near=st.integers(1, 20))
def test_runs_hold_every_offset_once(offsets: set[int], near: int) -> None:
    """Stretches in their order, that do not touch, and no longer than needed."""
    found = list(spans(np.array(sorted(offsets), np.int64), near))
    covered = [place for stretch in found for place in range(*stretch)]
    assert offsets <= set(covered)
    assert covered == sorted(set(covered))
    assert all({first, end - 1} <= offsets for first, end in found)


@pytest.fixture
async def decoder(settings: Settings) -> Decoder:
    return await open_decoder(settings)


async def write(settings: Settings, decoder: Decoder, count: int, *, at_once: int, tenant: str = "default") -> None:
    """Interactions of all users in turn; so many are handed over together, and make few batches."""
    async with FactWriter(settings, decoder.codec, linger_ms=2) as writer:
        for start in range(0, count, at_once):
            facts = [
                InteractionRecorded(
                    user_id=USERS[n % len(USERS)], item_id=f"i{n}", kind="view", occurred_at=datetime.now(UTC)
                )
                for n in range(start, min(count, start + at_once))
            ]
            await writer.append_all([(fact, replace(meta(fact, fact.user_id), tenant=tenant)) for fact in facts])


@contextlib.asynccontextmanager
async def index(settings: Settings) -> AsyncIterator[None]:
    """The read model, folded up to the end of the log, and no further once this has ended."""

    def work(settings: Settings, health: Health) -> Awaitable[None]:
        return runner.run(settings, health, [event_index.VIEW])

    async with running(work, settings, "projector"):
        ends = {part.partition: part.end for part in await ranges_now(settings, ["interactions"])}
        await eventually(lambda: _reached(settings, ends), 60)
        yield


async def _reached(settings: Settings, ends: dict[int, int]) -> bool:
    query = (
        "SELECT partition, next_offset FROM projection_offsets WHERE view = 'event_index' AND topic = 'interactions'"
    )
    with contextlib.suppress(Exception):
        async with await connect(settings, "test") as connection:
            rows = await (await connection.execute(query.encode())).fetchall()
            return {row["partition"]: row["next_offset"] for row in rows} == ends
    return False


async def both(settings: Settings, decoder: Decoder, user: str) -> tuple[list[Recorded], Reading]:
    """What the index finds, after seeing that it is what the log has."""
    ranges = await ranges_now(settings, ["interactions"])
    with_index, without = Reading(settings, decoder), Reading(settings, decoder, indexed=False)
    found = await with_index.of_keys(ranges, [user])
    assert found == await without.of_keys(ranges, [user])
    return found, with_index


async def test_an_index_and_a_scan_find_the_same(
    settings: Settings, decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In large batches and small ones, behind the end of the index, among the records of another tenant."""
    monkeypatch.setattr(infra.index.reading, "WORTH", 0)
    monkeypatch.setattr(infra.index.reading, "SHORTEST", 0)
    await write(settings, decoder, 600, at_once=200)
    await write(settings, decoder, 40, at_once=1)
    await write(settings, decoder, 30, at_once=10, tenant="elsewhere")
    async with index(settings):
        found, reading = await both(settings, decoder, USERS[0])
        assert len(found) == 107
        assert not any(way.why for way in reading.ways if way.end)
        assert sum(way.indexed for way in reading.ways) > 300
    await write(settings, decoder, 60, at_once=60)
    found, reading = await both(settings, decoder, USERS[0])
    assert len(found) == 117


async def test_an_index_of_another_log_is_left_aside(
    settings: Settings, decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read model that was kept while its topic was made anew points at other people's events."""
    monkeypatch.setattr(infra.index.reading, "WORTH", 0)
    monkeypatch.setattr(infra.index.reading, "SHORTEST", 0)
    await write(settings, decoder, 300, at_once=100)
    async with index(settings):
        pass
    async with await connect(settings, "test") as connection:
        await connection.execute("UPDATE event_index_v1 SET signatures = signatures >> 32")
    _, reading = await both(settings, decoder, USERS[0])
    assert {way.why for way in reading.ways if way.end > 0} == {"the index is not of this log"}


async def test_without_an_index_all_is_read(settings: Settings, decoder: Decoder) -> None:
    """No read model, no difference but time."""
    await write(settings, decoder, 100, at_once=50)
    assert await signatures(settings, "interactions", {0: 50}) is None
    found, _ = await both(settings, decoder, USERS[1])
    assert len(found) == 17


async def test_records_are_picked_as_they_were_written(settings: Settings, decoder: Decoder) -> None:
    """Byte for byte, of whatever batch, in order; an offset that has no record is passed over."""
    await write(settings, decoder, 500, at_once=250)
    ranges = await ranges_now(settings, ["interactions"])
    part = max(ranges, key=lambda one: one.end)
    async with open_client(settings, ["interactions"]) as client:
        whole = await pick(client, settings, "interactions", part.partition, range(part.end))
        some = await pick(client, settings, "interactions", part.partition, [part.end - 1, 3, 3, 0])
    assert [raw.offset for raw in whole] == list(range(part.end))
    assert some == [whole[0], whole[3], whole[-1]]
    await decoder.learn(whole)
    assert all(decoder.decode(raw) for raw in whole)
