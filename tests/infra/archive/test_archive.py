"""Archive and tail as one: nothing is lost when Kafka deletes, and nothing wrong is ever taken for right."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from confluent_kafka.admin import AdminClient

from inference.datasets.dataset import build
from infra.archive import create
from infra.archive.create import Archiver
from infra.archive.manifest import Signed, read_signed
from infra.archive.reading import holding_at
from infra.archive.store import Store
from infra.archive.verify import Checked, verify
from infra.audit.keys import open_signer
from infra.audit.leaf import leaves_of
from infra.kafka.at import open_records
from infra.kafka.connect import librdkafka_options
from infra.kafka.fetch import fetch, open_client
from infra.kafka.pick import pick
from infra.kafka.ranges import kafka_ranges, ranges_between, ranges_now
from infra.kafka.records import Decoder
from infra.kafka.replay import recorded, replay
from infra.kafka.topics import create_topics, physical
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.errors import Incompatible, Invalid, Problem
from schemas.models import OffsetRange
from schemas.topics import TOPICS

from ...console.logged import consent, fill
from ...cutting import archived, cut, with_archive
from ...eventually import eventually

TOPIC = "interactions"
RECORDS = 600


@pytest.fixture
def settings(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """With an archive and a notary of its own, whose files are small."""
    monkeypatch.setattr(create, "FILE_RECORDS", 40)
    monkeypatch.setattr(create, "FILES_IN_MANIFEST", 2)
    return with_archive(settings, tmp_path)


@pytest.fixture
async def decoder(settings: Settings) -> Decoder:
    decoder = await open_decoder(settings)
    for start in range(0, RECORDS, 20):  # batches of a few records for each partition
        fill(settings, decoder, 20, start)
    return decoder


async def table(settings: Settings, decoder: Decoder, ranges: list[OffsetRange]) -> pl.DataFrame:
    return pl.concat([one async for tables in replay(settings, decoder, ranges) for one in tables.values()])


async def test_the_log_is_whole_when_kafka_has_deleted_its_beginning(settings: Settings, decoder: Decoder) -> None:
    """Columns, single events, ranges, times, positions and hashes of records: all as before."""
    ranges = await ranges_now(settings, [TOPIC])
    before = await table(settings, decoder, ranges)
    singles = [one async for one in recorded(settings, decoder, ranges)]
    leaves = await _leaves(settings, ranges)
    since, until = (before["_timestamp"].sort()[RECORDS * share // 3] for share in (1, 2))
    between = await ranges_between(settings, [TOPIC], since, until)
    assert 0 < sum(part.end - part.first for part in between) < RECORDS
    await archived(settings, TOPIC)
    fill(settings, decoder, 50, RECORDS)  # a tail that is not archived
    await cut(settings, TOPIC, lambda end: end - 7, ranges)
    assert all(part.first for part in await kafka_ranges(settings, [TOPIC]))
    assert [part.first for part in await ranges_now(settings, [TOPIC])] == [0] * len(ranges)
    assert (await table(settings, decoder, ranges)).equals(before)
    assert [one async for one in recorded(settings, decoder, ranges)] == singles
    assert await _leaves(settings, ranges) == leaves
    assert await ranges_between(settings, [TOPIC], since, until) == between
    async with open_records(settings, TOPIC) as records:
        (raw,) = await records.read(ranges[0].partition, [3])
    async with open_client(settings, [TOPIC]) as client:
        last = ranges[0].end - 1  # which Kafka still has
        picked = await pick(client, settings, TOPIC, ranges[0].partition, [3, 4, 90, last])
    assert [one.offset for one in picked] == [3, 4, 90, last]
    assert picked[0] == raw
    assert raw.value == next(decoder.codec.encode(o.event) for o in singles if o.position.offset == 3)
    everything = await table(settings, decoder, await ranges_now(settings, [TOPIC]))
    assert len(everything) == RECORDS + 50


async def _leaves(settings: Settings, ranges: list[OffsetRange]) -> list[bytes]:
    found: list[bytes] = []
    async with open_client(settings, [TOPIC]) as client:
        async for one in fetch(client, settings, ranges):
            found += leaves_of(one.blocks, one.part.first, one.part.end).hashes
    return found


async def test_datasets_are_the_same_from_the_archive(settings: Settings, decoder: Decoder) -> None:
    """What is built on a replay does not know where its events came from."""
    consent(settings, decoder, 20)
    ranges = await ranges_now(settings, [TOPIC, "profiles"])
    before = await build(settings, decoder, ranges)
    await archived(settings, TOPIC, "profiles")
    for topic in (TOPIC, "profiles"):
        await cut(settings, topic, lambda end: end - 1, ranges)
    after = await build(settings, decoder, ranges)
    assert after.manifest.sha256 == before.manifest.sha256
    assert after.manifest.rows == before.manifest.rows > 0


async def test_archiving_goes_on_where_it_ended(settings: Settings, decoder: Decoder) -> None:
    """Again is without effect; later, only what is new is added; and all of it is whole."""
    first = await archived(settings, TOPIC)
    assert sum(one.records for one in first) == RECORDS
    assert sum(one.records for one in await archived(settings, TOPIC)) == 0
    fill(settings, decoder, 30, RECORDS)
    assert sum(one.records for one in await archived(settings, TOPIC)) == 30
    found = await verify(settings, [TOPIC], lambda _: None, against_log=True)
    assert [one.faults for one in found] == [[]] * len(found)
    assert sum(one.records for one in found) == sum(one.compared for one in found) == RECORDS + 30


async def test_files_that_no_manifest_names_are_not_there(settings: Settings, decoder: Decoder, tmp_path: Path) -> None:
    """An archiver that is killed leaves files without a manifest: nobody reads them, the next one writes them again."""
    await archived(settings, TOPIC)
    whole = _files(tmp_path)
    for path in sorted((tmp_path / "archive").rglob("*.json")):
        if path.name != f"{0:020}.json":
            path.unlink()
    broken = await holding_at(settings, TOPIC, 0, 0)
    assert broken is not None
    assert broken.end < (await ranges_now(settings, [TOPIC]))[0].end
    await archived(settings, TOPIC)
    assert _files(tmp_path) == whole


def _files(tmp_path: Path) -> dict[str, bytes]:
    root = tmp_path / "archive"
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES: list[tuple[str, Callable[[Path], object], str]] = [
    ("*.parquet", _cut, "bytes and should have"),
    ("*.parquet", _flip, "was changed"),
    ("*.parquet", Path.unlink, "is missing"),
    ("*.json", _cut, "is damaged"),
    ("*.json", lambda path: path.write_text(path.read_text().replace('"records": ', '"records": 1')), "was changed"),
    ("*.json", Path.unlink, "lacks the manifest before"),
]


@pytest.mark.parametrize(("files", "damage", "said"), DAMAGES)
async def test_what_is_damaged_is_named_and_never_read(
    settings: Settings, decoder: Decoder, tmp_path: Path, files: str, damage: Callable[[Path], object], said: str
) -> None:
    """A file cut short, changed or missing: one sentence that names it, from every reader; no events of it."""
    ranges = await ranges_now(settings, [TOPIC])
    await archived(settings, TOPIC)
    await cut(settings, TOPIC, ranges=ranges)
    busy = max(ranges, key=lambda part: part.end)
    folder = tmp_path / "archive" / physical(settings, TOPIC) / str(busy.partition)
    damaged = sorted(folder.glob(files))[0]
    damage(damaged)
    with pytest.raises(Incompatible, match=said) as caught:
        await table(settings, decoder, [busy])
    assert "\n" not in caught.value.detail
    if files == "*.parquet":
        assert damaged.name in caught.value.detail
        assert f"{TOPIC}/{busy.partition}/0.." in caught.value.detail
    found = await verify(settings, [TOPIC], lambda _: None)
    wrong = [one for one in found if not one.is_whole]
    assert [one.partition for one in wrong] == [busy.partition]
    assert any(said in fault for fault in wrong[0].faults)


async def test_the_last_manifest_is_missed_as_well(settings: Settings, decoder: Decoder, tmp_path: Path) -> None:
    """Nothing names the last one, but Kafka does not have what it held: the range is not there, and is not made up."""
    ranges = await ranges_now(settings, [TOPIC])
    await archived(settings, TOPIC)
    await cut(settings, TOPIC, ranges=ranges)
    busy = max(ranges, key=lambda part: part.end)
    folder = tmp_path / "archive" / physical(settings, TOPIC) / str(busy.partition)
    sorted(folder.glob("*.json"))[-1].unlink()
    with pytest.raises(Invalid, match="begins before the start of the log") as caught:
        await table(settings, decoder, [busy])
    assert caught.value.code == "range_before_start"


async def test_a_manifest_that_somebody_else_signed_is_refused(
    settings: Settings, decoder: Decoder, tmp_path: Path
) -> None:
    """Whoever can write to the folder cannot make up a beginning of the log."""
    ranges = await ranges_now(settings, [TOPIC])
    other = settings.model_copy(
        update={
            "notary": settings.notary.model_copy(
                update={"key_file": tmp_path / "other.key", "public_keys": tmp_path / "other"}
            )
        }
    )
    await archived(other, TOPIC)
    await cut(settings, TOPIC, ranges=ranges)
    Archiver(settings, lambda _: None)  # makes our key
    with pytest.raises(Incompatible, match="none of ours"):
        await table(settings, decoder, ranges)


async def test_other_records_under_our_signature_are_found_in_kafka(
    settings: Settings, decoder: Decoder, tmp_path: Path
) -> None:
    """Even who has the key is found out, as long as Kafka has the records."""
    await archived(settings, TOPIC)
    folder = tmp_path / "archive" / physical(settings, TOPIC) / "0"
    path = sorted(folder.glob("*.json"))[-1]
    signed = read_signed(path.read_bytes(), str(path))
    first = await holding_at(settings, TOPIC, 0, 0)
    assert first is not None
    said = json.loads(path.read_bytes())
    said["manifest"]["files"][-1]["records_sha256"] = "0" * 64
    forged = read_signed(json.dumps(said).encode(), str(path)).manifest
    path.write_bytes(Signed(forged, signed.key_id, open_signer(settings).sign(forged.message())).as_bytes())
    found = await verify(settings, [TOPIC], lambda _: None, against_log=True)
    assert [len(one.faults) for one in found] == [2, 0, 0, 0]
    assert "Kafka has other records" in found[0].faults[1]


async def test_a_topic_that_was_made_anew_is_another(settings: Settings, decoder: Decoder) -> None:
    """The old topic's archive must not become the beginning of the new one."""
    await archived(settings, TOPIC)
    admin = AdminClient(librdkafka_options(settings.kafka) | {"log_level": 0})
    for answer in admin.delete_topics([physical(settings, TOPIC)]).values():
        answer.result(60)
    await _made_again(settings)
    fill(settings, decoder, 40)
    with pytest.raises(Incompatible, match="made anew"):
        await archived(settings, TOPIC)


async def _made_again(settings: Settings) -> None:
    async def empty() -> bool:  # deleting takes a moment
        with contextlib.suppress(Problem):
            await create_topics(settings, [TOPICS[TOPIC]])
            return not any(part.end for part in await kafka_ranges(settings, [TOPIC]))
        return False

    await eventually(empty, within_s=90)


async def test_what_kafka_deleted_too_early_is_told(settings: Settings, decoder: Decoder) -> None:
    """A gap can no longer be filled: the archiver says so, and so does every verification."""
    await archived(settings, TOPIC)
    fill(settings, decoder, 100, RECORDS)
    ranges = await ranges_now(settings, [TOPIC])
    await cut(settings, TOPIC, ranges=ranges)
    fill(settings, decoder, 40, RECORDS + 100)
    done = await archived(settings, TOPIC)
    assert all(one.lost is not None and one.lost.end == one.part.first for one in done)
    found = await verify(settings, [TOPIC], lambda _: None)
    assert all("is not archived" in one.faults[0] for one in found)
    with pytest.raises(Invalid, match="begins before the start"):
        await table(settings, decoder, ranges)


async def test_every_byte_is_there(settings: Settings, decoder: Decoder, tmp_path: Path) -> None:
    """Void records, unknown headers, records without key: what makes no event is kept as well."""
    consent(settings, decoder, 20)
    ranges = await ranges_now(settings, ["profiles"])
    await archived(settings, "profiles")
    rows = [
        row for path in sorted((tmp_path / "archive").rglob("*.parquet")) for row in pq.read_table(path).to_pylist()
    ]
    assert len(rows) == sum(part.end for part in ranges) == 20
    async with open_records(settings, "profiles") as records:
        busy = max(ranges, key=lambda part: part.end)
        raws = await records.read(busy.partition, list(range(busy.end)))
    for row, raw in zip(rows, raws, strict=True):
        assert (row["offset"], row["key"].decode(), row["value"]) == (raw.offset, raw.key, raw.value)
        assert [(pair["name"], pair["value"]) for pair in row["headers"]] == list(raw.headers)


def test_an_archive_that_is_not_there_holds_nothing(settings: Settings) -> None:
    """Before anything was archived there is no folder, and that is no fault."""
    store = Store(settings)
    assert store.topics() == []
    assert store.manifests(TOPIC, 0) == []
    assert Checked(TOPIC, 0).is_whole
