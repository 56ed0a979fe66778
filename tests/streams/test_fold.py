"""The topology without a broker: records in, what is said out, offsets and state together."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from uuid6 import uuid7

import streams.stages
from infra.discover import discover
from schemas.envelope import Meta, Recorded
from schemas.errors import Conflict, Unavailable
from schemas.interactions import InteractionRecorded
from schemas.position import Position
from streams.fold import Fold
from streams.keeper import Keeper
from streams.stage import Stage
from streams.stages import trending

START = datetime(1998, 4, 1, tzinfo=UTC)
STAGES = discover(streams.stages, Stage)


def record(offset: int, item: str = "film", partition: int = 0) -> Recorded:
    event = InteractionRecorded(user_id="u", item_id=item, kind="view", occurred_at=START + timedelta(seconds=offset))
    meta = Meta(id=uuid7(), type=event.AVRO, source="t", subject="u", time=datetime(2026, 1, 1, tzinfo=UTC))
    return Recorded(event, meta, Position("interactions", partition, offset))


def feed(fold: Fold, *records: Recorded) -> Fold:
    for recorded in records:
        if fold.expects(recorded.position):
            fold.take(recorded.position, recorded)
    return fold


def counted(fold: Fold) -> int:
    return sum(counter["film"] for counter in fold.states["trending"].counts.values())


def test_stages_are_found() -> None:
    """A stage is one file; nothing else names it."""
    assert STAGES["trending"] is trending.STAGE


def test_a_record_delivered_twice_counts_once() -> None:
    """Faust repeats after a rebalance or a crash."""
    assert counted(feed(Fold.fresh(STAGES), record(0), record(1), record(0), record(1), record(2))) == 3


def test_partitions_have_offsets_of_their_own() -> None:
    """The same offset in another partition is another record."""
    assert counted(feed(Fold.fresh(STAGES), record(0), record(0, partition=1))) == 2


def test_a_record_left_out_stops_the_worker() -> None:
    """Faust is known to lose records; a count that is silently short is worse than a restart."""
    with pytest.raises(Unavailable, match="interactions/0/1"):
        feed(Fold.fresh(STAGES), record(0), record(2))


def test_a_hole_in_the_log_itself_is_passed_after_a_restart() -> None:
    """Else a transaction marker would stop the worker for ever."""
    fold = Fold.load(STAGES, feed(Fold.fresh(STAGES), record(0)).dump())
    assert counted(feed(fold, record(2))) == 2


def test_an_unreadable_record_is_passed() -> None:
    """It goes to the dead letters; the offset moves on."""
    fold = feed(Fold.fresh(STAGES), record(0))
    fold.take(Position("interactions", 0, 1), None)
    assert counted(feed(fold, record(2))) == 2


def test_what_was_drained_is_not_drained_again() -> None:
    """Each measurement is appended once, unless a crash comes between."""
    fold = feed(Fold.fresh(STAGES), record(0))
    assert [stage for stage, _ in fold.drain()] == ["trending"]
    assert fold.drain() == []


def keeper(folder: Path, stages: dict[str, Stage[trending.Trend]] = STAGES, tenant: str = "default") -> Keeper:
    return Keeper(folder, stages, tenant)


def test_a_kept_fold_continues_where_it_was(tmp_path: Path) -> None:
    """State and offsets are one file: a repeat after the restart is still known as one."""
    before = keeper(tmp_path)
    fold = feed(before.open(), record(0), record(1))
    before.write(before.encode(fold))
    after = keeper(tmp_path)
    assert counted(feed(after.open(), record(1), record(2))) == 3
    assert after.name == before.name


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"fingerprint": "other"}'])
def test_a_broken_file_is_folded_anew_under_a_new_name(tmp_path: Path, content: bytes) -> None:
    """The file is a cache; with it goes the name whose offsets the brokers hold."""
    before = keeper(tmp_path)
    before.write(before.encode(feed(before.open(), record(0))))
    before.write(content)
    after = keeper(tmp_path)
    assert after.open().next == {}
    assert after.name != before.name


def test_a_changed_stage_is_folded_anew(tmp_path: Path) -> None:
    """Counts of an hour and counts of a day do not mix."""
    before = keeper(tmp_path)
    before.write(before.encode(feed(before.open(), record(0))))
    changed = {"trending": trending.stage(trending.Params(window_s=7200))}
    assert keeper(tmp_path, changed).open().next == {}


def test_what_another_tenants_worker_kept_is_folded_anew(tmp_path: Path) -> None:
    """Its counts would be published as this one's, and what this one's log holds before them would be left out."""
    before = keeper(tmp_path, tenant="acme")
    before.write(before.encode(feed(before.open(), record(0))))
    assert keeper(tmp_path, tenant="globex").open().next == {}


def test_two_workers_never_share_a_folder(tmp_path: Path) -> None:
    """Each would see half the partitions and both would be wrong."""
    with keeper(tmp_path).owned(), pytest.raises(Conflict, match="data_dir"), keeper(tmp_path).owned():
        pass
