"""People who were erased are in no dataset that is made afterwards, and an old run does not pretend otherwise."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from uuid6 import uuid7

from console.train import Verification
from inference.datasets.dataset import build, fixed_ranges
from inference.explaining.explain import explain
from infra.kafka.facts import FactWriter
from infra.kafka.partitioner import partition_of
from infra.kafka.records import Decoder
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.decisions import RecommendationServed
from schemas.envelope import Meta
from schemas.errors import Gone
from schemas.interactions import InteractionRecorded
from schemas.profiles import ConsentGiven, ConsentWithdrawn, UserErased, UserRegistered

START = datetime(2026, 1, 1, tzinfo=UTC)


class Writing:
    """A log with one writer."""

    def __init__(self, settings: Settings, decoder: Decoder) -> None:
        self.settings = settings
        self.decoder = decoder
        self._next: Counter[int] = Counter()

    async def say(self, *events: Any) -> None:
        """Append facts, and events of profiles where they are expected."""
        async with FactWriter(self.settings, self.decoder.codec) as writer:
            for event in events:
                is_fact = isinstance(event, InteractionRecorded | RecommendationServed)
                place = {} if is_fact else self._place(event)
                meta = Meta(id=uuid7(), type=event.AVRO, source="test", subject=event.user_id, time=START, **place)
                await writer.append(event, meta)

    def _place(self, event: Any) -> dict[str, Any]:
        partition = partition_of(event.user_id, self.settings.kafka.partitions)
        offset = self._next[partition]
        self._next[partition] += 1
        return {"expected_offset": offset, "command_offset": offset, "causation_id": str(uuid7())}


@pytest.fixture
async def log(settings: Settings) -> Writing:
    return Writing(settings, await open_decoder(settings))


def met(*users: str) -> list[InteractionRecorded]:
    """Three interactions of each."""
    return [
        InteractionRecorded(user_id=user, item_id=f"i{n}", kind="view", occurred_at=START + timedelta(minutes=n))
        for user in users
        for n in range(3)
    ]


async def test_the_erased_are_left_out_and_counted(log: Writing) -> None:
    """Also interactions that come after the erasure; the manifest tells up to where erasures were looked for."""
    await log.say(UserRegistered(user_id="ana"), *met("ana", "ben"), UserErased(user_id="ana", reason="r"))
    await log.say(*met("ana"))
    dataset = await build(log.settings, log.decoder, await fixed_ranges(log.settings, ()))
    manifest = dataset.manifest
    assert set(dataset.rows["user_id"]) == {"ben"}
    assert (manifest.rows, manifest.erased_users, manifest.erased, manifest.erased_since) == (3, 1, 6, 0)
    assert [part.topic for part in manifest.erasures] == ["profiles"] * log.settings.kafka.partitions
    assert sum(part.end for part in manifest.erasures) == 2


async def test_an_erasure_counts_whatever_the_ranges_say(log: Writing) -> None:
    """Training on the past is training too: the ranges of an old run do not bring somebody back."""
    await log.say(UserRegistered(user_id="ana"), *met("ana", "ben"))
    before = await fixed_ranges(log.settings, ())
    first = await build(log.settings, log.decoder, before)
    assert (first.manifest.rows, first.manifest.erased_users) == (6, 0)
    await log.say(UserErased(user_id="ana", reason="r"))
    again = await build(log.settings, log.decoder, before)
    assert (again.manifest.rows, again.manifest.erased, again.manifest.erased_since) == (3, 3, 3)
    assert again.manifest.sha256 != first.manifest.sha256


async def test_an_erasure_of_somebody_who_is_not_in_it_changes_nothing(log: Writing) -> None:
    """A run stays verifiable as long as it can be."""
    await log.say(*met("ben"))
    before = await fixed_ranges(log.settings, ())
    first = await build(log.settings, log.decoder, before)
    await log.say(UserErased(user_id="ana", reason="r"))
    again = await build(log.settings, log.decoder, before)
    assert (again.manifest.sha256, again.manifest.erased_since) == (first.manifest.sha256, 0)


async def test_consent_counts_as_it_stood_where_the_ranges_end(log: Writing) -> None:
    """A withdrawal stops the use from its position on; what was trained before can be made again."""
    await log.say(UserRegistered(user_id="ana"), *met("ana", "ben"))
    before = await fixed_ranges(log.settings, ())
    await log.say(ConsentWithdrawn(user_id="ana", purpose="training"))
    withdrawn = await fixed_ranges(log.settings, ())
    await log.say(ConsentGiven(user_id="ana", purpose="training"))
    given = await fixed_ranges(log.settings, ())
    rows = [(await build(log.settings, log.decoder, ranges)).manifest.rows for ranges in (before, withdrawn, given)]
    assert rows == [6, 3, 6]


def test_a_run_that_cannot_be_made_again_says_why() -> None:
    """In one sentence, and never `identical`."""
    lost = Verification("r", {"rows": 6}, {"rows": 3}, erased_since=3)
    assert not lost.identical
    assert "cannot be made again" in lost.verdict
    assert "3 of its interactions are of people who have been erased since" in lost.verdict
    assert "NOT identical" in Verification("r", {"rows": 6}, {"rows": 5}).verdict
    assert "identical" in Verification("r", {"rows": 6}, {"rows": 6}, erased_since=2).verdict


async def test_a_decision_for_somebody_erased_is_not_explained(log: Writing) -> None:
    """What somebody was shown, and why, describes them."""
    served = RecommendationServed(
        user_id="ana",
        decision_id="d1",
        model="movies",
        source="popular",
        positions=(),
        history_length=0,
        history_sha256="",
        candidates=0,
        filtered=(),
        limit=1,
        items=(),
        served_at=START,
        latency_ms=1.0,
        server="s",
        sequence=1,
    )
    await log.say(served, UserErased(user_id="ana", reason="r"))
    with pytest.raises(Gone, match="erased"):
        await explain(log.settings, log.decoder, "d1")
