"""Kafka has deleted what was signed: the archive answers for it, and what nobody has is never called whole."""

import json
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from console.audit import checked
from infra.archive import create
from infra.archive.manifest import Kept, Signed, read_signed
from infra.audit import keys
from infra.audit.partition import Partition
from infra.audit.source import Source
from infra.audit.verify import Report, Wanted
from infra.kafka.facts import FactWriter
from infra.kafka.fetch import open_client
from infra.kafka.ranges import kafka_ranges
from infra.kafka.topics import physical
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.errors import Incompatible, Invalid

from ...cutting import archived, cut
from .auditing import TOPIC, append, audited, covered, notary_here, until, verified
from .test_audit_command import audit
from .test_audit_proof import Given, served

RECORDS = 600


@pytest.fixture
def mine(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """With a notary and an archive of small files of its own."""
    monkeypatch.setattr(create, "FILE_RECORDS", 40)
    monkeypatch.setattr(create, "FILES_IN_MANIFEST", 2)
    own = {"archive": (tmp_path / "archive").as_uri(), "artifacts": (tmp_path / "artifacts").as_uri()}
    return audited(settings.model_copy(update=own), tmp_path)


async def signed(settings: Settings, count: int = RECORDS) -> None:
    async with notary_here(settings):
        await append(settings, count)
        await covered(settings)


def files(settings: Settings, partition: int, topic: str = TOPIC) -> list[Path]:
    folder = Path(settings.archive_url.removeprefix("file://")) / physical(settings, topic) / str(partition)
    return sorted(folder.glob("*.parquet"))


def forge(path: Path, offset: int) -> None:
    """Give a record of the archive another value, in a file that any reader of Parquet takes for a good one."""
    table = pq.read_table(path)
    place = table["offset"].to_pylist().index(offset)
    values = table["value"].to_pylist()
    values[place] = b"\x00\x00\x00\x00\x01forged"
    at = table.schema.get_field_index("value")
    pq.write_table(table.set_column(at, table.schema.field(at), pa.array(values, pa.large_binary())), path)


def told(report: Report) -> list[tuple[str, str, int, int]]:
    return [(finding.kind, finding.log, finding.first, finding.last) for finding in report.faults]


async def test_archive_and_tail_are_verified_as_one(mine: Settings) -> None:
    """Deleting what was archived changes no verdict, and the report says which part the archive answered for."""
    await signed(mine)
    before = await verified(mine)
    await archived(mine, TOPIC, "audit")
    await cut(mine, TOPIC, lambda end: end - 7)
    await cut(mine, "audit", lambda end: end // 2)
    await signed(mine, 100)  # a tail that is not archived
    after = await verified(mine)
    assert told(after) == told(before) == []
    assert after.records == before.records + 100
    assert all(part.archived for part in after.partitions)


async def test_what_was_deleted_before_it_was_signed_is_signed_from_the_archive(mine: Settings) -> None:
    """A notary that was away while the log was archived and cut leaves nothing out."""
    await signed(mine, 100)
    await append(mine, RECORDS)
    await archived(mine, TOPIC, "audit")
    await cut(mine, TOPIC)
    await cut(mine, "audit")
    await signed(mine, 20)
    report = await verified(mine)
    assert told(report) == []
    assert report.records == 100 + RECORDS + 20


async def test_a_notary_says_what_it_cannot_sign(mine: Settings) -> None:
    """Where neither Kafka nor the archive has what is next."""
    await signed(mine, 100)
    await append(mine, RECORDS)
    await cut(mine, TOPIC)
    async with notary_here(mine) as health:
        await until(lambda: any("in Kafka nor in the archive" in str(one) for one in health.components.values()))
        assert not health.ready


async def test_the_part_from_the_archive_is_named(mine: Settings) -> None:
    """From the first signed offset to where Kafka begins, and not an offset more."""
    await signed(mine)
    await archived(mine, TOPIC)
    assert [part.archived for part in (await verified(mine)).partitions] == [[]] * mine.kafka.partitions
    await cut(mine, TOPIC, lambda end: end // 2)
    starts = {f"{TOPIC}/{part.partition}": part.first for part in await kafka_ranges(mine, [TOPIC])}
    report = await verified(mine)
    assert {part.log: part.archived for part in report.partitions} == {log: [(0, at)] for log, at in starts.items()}
    shutil.rmtree(tmp_of(mine) / "leaves")  # which costs names of records, and no verdict
    assert (told(await verified(mine)), report.records) == ([], RECORDS)
    status, out, _ = await audit(mine, "verify", "--topic", TOPIC)
    assert (status, f"0..{starts[f'{TOPIC}/0']}" in out, "as signed: 600 records" in out) == (0, True, True)


def tmp_of(settings: Settings) -> Path:
    return Path(settings.artifact_url.removeprefix("file://"))


async def test_what_kafka_deletes_during_a_verification_is_read_from_the_archive(mine: Settings) -> None:
    """Retention does not wait for an audit: where Kafka begins is asked again when it no longer has what it had."""
    await signed(mine, 200)
    await archived(mine, TOPIC)
    before = max(await kafka_ranges(mine, [TOPIC]), key=lambda part: part.end)
    log = Partition(TOPIC, before.partition)
    async with open_client(mine, [TOPIC]) as client:
        whole = [piece async for piece in Source(client, mine, log, before).read(0, before.end)]
        await cut(mine, TOPIC, lambda end: end - 3)
        late = Source(client, mine, log, before)
        after = [piece async for piece in late.read(0, before.end)]
    assert late.kafka.first == before.end - 3
    assert [(piece.fault, piece.flaws) for piece in after] == [("", [])] * len(after)
    assert {piece.archived for piece in after} == {True, False}
    assert [leaf for one in after for leaf in one.leaves.hashes] == [
        leaf for one in whole for leaf in one.leaves.hashes
    ]


async def test_an_altered_file_is_found_and_the_offset_named(mine: Settings) -> None:
    """Whoever can write to the archive is found out by the checkpoint, to the record."""
    await signed(mine)
    await archived(mine, TOPIC)
    await cut(mine, TOPIC)
    forge(files(mine, 0)[0], 17)
    short, gone = files(mine, 1)[1], files(mine, 2)[1]
    short.write_bytes(short.read_bytes()[:-9])
    gone.unlink()
    spans = {log: [int(end) for end in path.stem.split("-")] for log, path in ((1, short), (2, gone))}
    report = await verified(mine)
    first_file = int(files(mine, 0)[0].stem.split("-")[1])
    assert told(report) == [
        ("altered", f"{TOPIC}/0", 0, first_file - 1),
        ("changed", f"{TOPIC}/0", 17, 17),
        *(("altered", f"{TOPIC}/{log}", first, end - 1) for log, (first, end) in spans.items()),
    ]
    assert files(mine, 0)[0].name in report.faults[0].detail
    assert "is missing" in report.faults[3].detail
    status, out, _ = await audit(mine, "verify", "--topic", TOPIC)
    assert (status, f"{TOPIC}/0/17: changed" in out, "NOT as signed: 4 findings" in out) == (1, True, True)


async def test_a_forgery_under_our_own_signature_is_found(mine: Settings) -> None:
    """Who has the key makes an archive that says all is well; the checkpoint was signed when the record was another."""
    await signed(mine)
    await archived(mine, TOPIC)
    await cut(mine, TOPIC)
    path = files(mine, 0)[0]
    forge(path, 17)
    _sign_again(mine, path)
    assert told(await verified(mine)) == [("changed", f"{TOPIC}/0", 17, 17)]


def _sign_again(settings: Settings, path: Path) -> None:
    """A manifest that names the file as it is now, and the ones behind it likewise."""
    signer, previous = keys.open_signer(settings), None
    for place in sorted(path.parent.glob("*.json")):
        manifest = read_signed(place.read_bytes(), str(place)).manifest
        kept = tuple(_as_it_is(path.parent, file) for file in manifest.files)
        again = replace(manifest, files=kept, previous=previous)
        place.write_bytes(Signed(again, signer.key_id, signer.sign(again.message())).as_bytes())
        previous = again.sha256


def _as_it_is(folder: Path, file: Kept) -> Kept:
    data = (folder / file.name).read_bytes()
    return replace(file, size_bytes=len(data), sha256=sha256(data).hexdigest())


async def test_what_nobody_has_cannot_be_checked(mine: Settings) -> None:
    """A gap between archive and Kafka is named, offset by offset, and the answer is neither yes nor no."""
    await signed(mine)
    await archived(mine, TOPIC)
    ends = {part.partition: part.end for part in await kafka_ranges(mine, [TOPIC])}
    await signed(mine, 200)
    await cut(mine, TOPIC, lambda end: end - 3)
    starts = {part.partition: part.first for part in await kafka_ranges(mine, [TOPIC])}
    report = await verified(mine)
    gaps = [("unchecked", f"{TOPIC}/{number}", end, starts[number] - 1) for number, end in ends.items()]
    assert told(report) == gaps
    assert all("cannot be checked" in finding.detail for finding in report.faults)
    offsets = sum(last - first + 1 for *_, first, last in gaps)
    assert report.records == RECORDS + 200 - offsets
    status, out, _ = await audit(mine, "verify", "--topic", TOPIC)
    assert (status, f"cannot be checked: {offsets} offsets" in out, "as signed: " in out) == (1, True, False)


@pytest.mark.parametrize("damage", [None, "manifest"])
async def test_without_an_archive_nothing_is_called_whole(mine: Settings, damage: str | None) -> None:
    """None there, or one whose manifests are damaged: all that Kafka has deleted cannot be checked."""
    await signed(mine, 200)
    if damage:
        await archived(mine, TOPIC)
        for path in files(mine, 0)[0].parent.glob("*.json"):
            path.write_text(path.read_text()[:-9])
    await cut(mine, TOPIC)
    report = await verified(mine, Wanted(topics=(TOPIC,)))
    broken = [finding for finding in report.faults if finding.log == f"{TOPIC}/0"]
    assert [(finding.kind, finding.first) for finding in broken] == [("unchecked", 0)]
    assert ("is damaged" in broken[0].detail) is (damage == "manifest")
    assert len(report.faults) == (1 if damage else mine.kafka.partitions)
    assert (report.records == 0) is (damage is None)


async def test_a_decision_that_only_the_archive_has_is_proven(mine: Settings) -> None:
    """Offset, time stamp, key, value and headers are kept as they were, so the leaf is the one that was signed."""
    given = await _decided(mine)
    proof = await given.proof(60)
    await archived(mine, "decisions")
    await cut(mine, "decisions")
    assert await given.proof(60) == proof
    shutil.rmtree(tmp_of(mine) / "leaves")  # now the path is computed from the archive as well
    assert await given.proof(60) == proof
    assert checked(json.dumps(proof, indent=1), given.pem)["decision"] == given.decisions[60][0]
    status, out, _ = await audit(mine, "prove", given.decisions[60][0])
    assert (status, out.strip()) == (0, json.dumps(proof, indent=1))

    position = given.decisions[60][1]
    for path in files(mine, position.partition, "decisions"):
        if position.offset in pq.read_table(path)["offset"].to_pylist():
            forge(path, position.offset)
    with pytest.raises(Incompatible, match=r"the archive's file .* bytes and should have"):
        await given.proof(60)
    shutil.rmtree(files(mine, position.partition, "decisions")[0].parent)
    with pytest.raises(Invalid, match="neither in Kafka nor in the archive"):
        await given.proof(60)


async def _decided(settings: Settings) -> Given:
    facts = [served(number) for number in range(120)]
    decoder = await open_decoder(settings)
    async with notary_here(settings):
        async with FactWriter(settings, decoder.codec) as writer:
            positions = await writer.append_all(facts)
        await covered(settings, ("decisions",))
    pem = keys.pem(keys.open_signer(settings).public).decode()
    ids = [event.decision_id for event, _ in facts]
    return Given(settings, list(zip(ids, positions, strict=True)), pem)
