"""The archive has the beginning of the log and Kafka has deleted it: who starts anew still knows everything."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from commands.processor import worker as processor
from commands.scheduler import worker as scheduler
from infra.kafka.ranges import kafka_ranges
from infra.settings import Settings
from schemas.topics import DECIDED, TOPICS

from ..cutting import archived, cut, with_archive
from ..eventually import eventually
from ..roles import running
from .writing import WriteSide, open_write_side, registered

CUT = [*DECIDED, *(f"{topic}.commands" for topic in DECIDED), "access", "uploads"]


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """With an archive of its own."""
    return with_archive(settings, tmp_path)


async def archive_and_cut(settings: Settings) -> None:
    """Everything that was ever written is in the archive, and nowhere else."""
    topics = [topic for topic in CUT if topic in TOPICS]
    await archived(settings, *topics)
    for topic in topics:
        await cut(settings, topic)


async def remembered(side: WriteSide) -> None:
    """What was decided before is known still, and nothing is decided anew."""
    again = await side.call("POST", "/users", json={"user_id": "ana"})
    assert (again.status, again.code) == (409, "already_registered")
    ends = [part.end for part in await kafka_ranges(side.settings, ["profiles"])]
    assert sum(ends) == 2, "she was registered once and refused once"
    viewed = {"user_id": "ana", "item_id": "film", "kind": "view", "occurred_at": "2026-01-01T00:00:00Z"}
    assert (await side.call("POST", "/interactions", json=viewed)).status == 201
    assert (await side.call("POST", "/users", json={"user_id": "eve"})).status == 200


async def given_decisions(settings: Settings) -> None:
    """Decisions on record, and in the snapshots."""
    async with open_write_side(settings) as side:
        assert (await side.call("POST", "/users", json={"user_id": "ana"})).status == 200
        item = await side.call("POST", "/items", json={"item_id": "film", "title": "A film"})
        assert item.status == 200


async def test_snapshots_are_recognised_in_the_archive(settings: Settings) -> None:
    """The last event of a snapshot is what it is recognised by: it must be found, wherever it stands."""
    await given_decisions(settings)
    await archive_and_cut(settings)
    async with open_write_side(settings) as side:
        await remembered(side)


async def test_without_snapshots_the_archive_is_folded(settings: Settings) -> None:
    """A new machine has no snapshots; whoever was registered is so still."""
    await given_decisions(settings)
    await archive_and_cut(settings)
    shutil.rmtree(settings.snapshots)
    async with open_write_side(settings) as side:
        await remembered(side)


async def test_without_the_archive_nothing_is_decided(settings: Settings, tmp_path: Path) -> None:
    """To decide from what Kafka has now would be to forget who is registered, in silence."""
    await given_decisions(settings)
    await archive_and_cut(settings)
    shutil.move(tmp_path / "archive", tmp_path / "elsewhere")
    async with running(processor.work, settings, "processor") as health:

        async def told() -> bool:
            causes = [str(one) for name, one in health.components.items() if name.startswith("profiles/")]
            return any("log_out_of_range" in one and "neither in Kafka nor in the archive" in one for one in causes)

        await eventually(told, within_s=60)
        shutil.move(tmp_path / "elsewhere", tmp_path / "archive")

        async def well() -> bool:
            return health.ready

        await eventually(well, within_s=60)


async def test_a_key_that_was_made_before_still_opens(settings: Settings) -> None:
    """Nobody may be locked out, nor a revoked key open, because Kafka has less than there was."""
    async with open_write_side(settings) as side:
        kept = (await side.call("POST", "/api-keys", json={"name": "shop", "roles": ["product"]})).body
        revoked = (await side.call("POST", "/api-keys", json={"name": "old", "roles": ["product"]})).body
        assert (await side.call("DELETE", f"/api-keys/{revoked['key_id']}")).status == 200
    await archive_and_cut(settings)
    async with open_write_side(settings) as side:
        for key, status in ((kept, 200), (revoked, 401)):
            headers = {"authorization": f"Bearer {key['key']}"}
            answer = await side.call("POST", "/users", json={"user_id": "ana"}, headers=headers)
            assert answer.status == status, answer


async def test_what_was_scheduled_before_is_fired(settings: Settings) -> None:
    """A plan for next year is older than what Kafka keeps when its time comes."""
    now = datetime.now(UTC)
    plan = {"schedule_id": "s", "due_at": (now + timedelta(days=300)).isoformat()}
    command = {"command_type": "RegisterUser", "data": {"user_id": "later"}}
    async with open_write_side(settings) as side:
        assert (await side.call("POST", "/schedules", json=plan | command)).status == 200
    await archive_and_cut(settings)
    async with open_write_side(settings) as side, running(scheduler.work, settings, "scheduler"):
        assert (await side.call("PUT", "/schedules/s/due", json={"due_at": now.isoformat()})).status == 200
        await registered(side, "later")
