"""Whoever folds a topic from its first record on hears the first record, wherever it stands."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from inference.follower import Batch, Follower
from infra.kafka.connect import aiokafka_options
from infra.kafka.records import Raw
from infra.kafka.topics import create_topics
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.errors import Incompatible
from schemas.profiles import UserRegistered

from ..cutting import archived, cut, with_archive
from ..projections.telling import Decided

TOPIC = "profiles"


@pytest.fixture
async def told(settings: Settings, tmp_path: Path) -> Settings:
    """Forty events that only the archive has, and in some partitions a few that only Kafka has."""
    mine = with_archive(settings, tmp_path)
    await create_topics(mine)
    decoder = await open_decoder(mine)
    async with AIOKafkaProducer(**aiokafka_options(mine.kafka)) as producer:
        log = Decided(mine, decoder, producer)
        for number in range(40):
            await log.append(UserRegistered(user_id=f"u{number}"))
        await archived(mine, TOPIC)
        await cut(mine, TOPIC)
        await log.append(UserRegistered(user_id="late"))
    return mine


async def heard(settings: Settings, group: str | None) -> list[Batch]:
    """What is heard until everything has been."""
    batches: list[Batch] = []
    async with Follower(settings, await open_decoder(settings), group=group, topic=TOPIC) as follower:
        while not (batches and batches[-1].caught_up):
            batches.append(await follower.poll())
        if group is not None:
            await follower.commit()
    return batches


@pytest.mark.parametrize("group", [None, "readers"])
async def test_the_past_is_heard_before_the_rest(told: Settings, group: str | None) -> None:
    """Also where Kafka has nothing left at all: it would otherwise wait for ever to be up to date."""
    for handled in (False, group is not None):
        events = [event for batch in await heard(told, group) for event in batch.events]
        assert {event.recorded.event.user_id for event in events} == {"late", *(f"u{number}" for number in range(40))}
        assert {event.handled for event in events} == {handled}
        by_partition: dict[int, list[int]] = {}
        for event in events:
            by_partition.setdefault(event.recorded.position.partition, []).append(event.recorded.position.offset)
        assert all(offsets == list(range(len(offsets))) for offsets in by_partition.values())


async def test_without_the_archive_nothing_is_heard(told: Settings, tmp_path: Path) -> None:
    """A fold of the rest would be a state that never was."""
    (tmp_path / "archive").rename(tmp_path / "elsewhere")
    with pytest.raises(Incompatible, match="neither in Kafka nor in the archive") as caught:
        await heard(told, None)
    assert caught.value.code == "log_out_of_range"


async def test_what_is_given_out_while_it_begins_again_is_begun_again(
    told: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rebalance does not wait; Kafka would go on in the new partitions where their last owner was."""
    async with Follower(told, await open_decoder(told), group=None, topic=TOPIC) as follower:
        remember = follower._remember

        async def meanwhile(at: TopicPartition, raws: Sequence[Raw]) -> None:
            monkeypatch.undo()
            follower.on_partitions_assigned([at])
            await remember(at, raws)

        monkeypatch.setattr(follower, "_remember", meanwhile)
        batches = [await follower.poll()]
        while not batches[-1].caught_up:
            batches.append(await follower.poll())
    assert [batch.restarted for batch in batches[:2]] == [True, True]
    assert sum(len(batch.events) for batch in batches) == 41
