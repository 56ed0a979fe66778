"""Somebody with root on the broker edits the log's files: the broker serves them, and the audit names the record."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition

from infra.audit.chain import Chains, heads_of
from infra.audit.finding import Finding
from infra.audit.verify import Report, Wanted
from infra.kafka.consumer import make_consumer
from infra.kafka.facts import FactWriter
from infra.kafka.partitioner import partition_of
from infra.kafka.topics import physical
from infra.registry.enlist import open_decoder
from infra.settings import Settings, child_environment
from infra.stack.stack import Stack, merged

from .auditing import ROOT, TOPIC, append, audited, covered, notary_here, until, verified
from .tampering import Record, batches, changed, edit, inserted, put, rebuilt, records_of, removed
from .test_audit_proof import served

pytestmark = pytest.mark.long

SERVERS = ["kafka", "registry"]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A broker that only these tests use, because they stop it and edit its files."""
    patient = {"kafka_heap_mb": 256, "stop_timeout_s": 120}  # killed, it would mend its files when it starts
    stack = Stack(Settings(data_dir=tmp_path_factory.mktemp("broker"), stack=patient))
    stack.up(SERVERS)
    try:
        yield stack
    finally:
        stack.down(SERVERS)


@pytest.fixture
def mine(broker: Stack, tmp_path: Path) -> Settings:
    """A corner of that broker with a notary's key of its own."""
    corner = {"topic_prefix": f"{os.urandom(4).hex()}.", "artifacts": (tmp_path / "artifacts").as_uri()}
    return audited(Settings(**merged(broker.settings.model_dump(exclude_unset=True), corner)), tmp_path)


def folder(settings: Settings, topic: str, partition: int) -> Path:
    """Where the broker keeps a partition."""
    return settings.data_dir / "kafka" / "data" / f"{physical(settings, topic)}-{partition}"


async def signed(settings: Settings, count: int = 600) -> Chains:
    """A log with so many facts, all under checkpoints."""
    async with notary_here(settings):
        await append(settings, count)
        return await covered(settings)


def restarted(broker: Stack, settings: Settings) -> Settings:
    """The broker with the files as they are now."""
    broker.up(SERVERS)
    return Settings(
        **merged(settings.model_dump(exclude_unset=True), broker.settings.model_dump(include={"kafka", "registry"}))
    )


def told(report: Report, partition: int) -> list[tuple[str, int, int]]:
    """What was found in a partition of the topic."""
    (part,) = [part for part in report.partitions if part.log == f"{TOPIC}/{partition}"]
    return [(finding.kind, finding.first, finding.last) for finding in part.findings]


def all_of(path: Path) -> list[bytes]:
    """The batches of a partition, from its only segment."""
    (segment,) = path.glob("*.log")
    return batches(segment.read_bytes())


async def test_a_record_that_was_changed_removed_or_inserted_is_named(broker: Stack, mine: Settings) -> None:
    """With a right check sum nobody else notices: consumers read the edited log without complaint."""
    await signed(mine)
    assert (await verified(mine)).faults == []
    broker.down(SERVERS)
    edit(folder(mine, TOPIC, 0), 17, changed(17, b"\x00\x00\x00\x00\x01forged"))
    edit(folder(mine, TOPIC, 1), 33, removed(33))
    edit(folder(mine, TOPIC, 2), 40, inserted(40, b"\x00\x00\x00\x00\x01forged"))
    path = folder(mine, TOPIC, 3)
    (segment,) = path.glob("*.log")
    put(segment, b"".join(batches(segment.read_bytes())[:-2]))
    mine = restarted(broker, mine)

    values = await everything(mine)
    assert [offset for partition, offset, value in values if value.endswith(b"forged")] == [17, 41]
    report = await verified(mine)
    assert told(report, 0) == [("changed", 17, 17)]
    assert told(report, 1) == [("missing", 33, 33)]
    assert told(report, 2)[0][:2] in (("inserted", 41), ("changed", 41)), "what follows stands elsewhere than it was"
    (cut,) = told(report, 3)
    (part,) = [part for part in report.partitions if part.log == f"{TOPIC}/3"]
    assert cut == ("cut", part.log_end, part.end - 1)


async def everything(settings: Settings) -> list[tuple[int, int, bytes]]:
    """What an ordinary consumer reads: partition, offset and value."""
    places = [TopicPartition(physical(settings, TOPIC), p) for p in range(settings.kafka.partitions)]
    found = []
    async with make_consumer(settings) as consumer:
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        while any([await consumer.position(place) < ends[place] for place in places]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += [(record.partition, record.offset, record.value) for record in records]
    return sorted(found)


async def test_a_batch_that_was_removed_or_damaged_is_named(broker: Stack, mine: Settings) -> None:
    """A batch with a wrong check sum stops every reader; the audit says which it is, and reads on behind it."""
    await signed(mine)
    broker.down(SERVERS)
    gone = all_of(folder(mine, TOPIC, 0))[2]
    first = int.from_bytes(gone[:8], "big")
    count = int.from_bytes(gone[57:61], "big")
    edit(folder(mine, TOPIC, 0), first, lambda _: [])
    path = folder(mine, TOPIC, 1)
    (segment,) = path.glob("*.log")
    data = bytearray(segment.read_bytes())
    bad = all_of(path)[1]
    at = bytes(data).index(bad)
    data[at + len(bad) - 3] ^= 0xFF
    segment.write_bytes(data)
    mine = restarted(broker, mine)

    report = await verified(mine)
    assert told(report, 0) == [("missing", first, first + count - 1)]
    base, size = int.from_bytes(bad[:8], "big"), int.from_bytes(bad[57:61], "big")
    assert told(report, 1) == [("damaged", base, base + size - 1)]
    assert told(report, 2) == told(report, 3) == []


async def test_checkpoints_that_were_changed_or_removed_are_named(broker: Stack, mine: Settings) -> None:
    """Whoever edits the log would edit its checkpoints as well."""
    chains = await signed(mine)
    victims = {log: chain.links[1] for log, chain in chains.by_log.items() if len(chain.links) > 2}
    first, second = sorted(victims)[:2]
    kept = heads_of(chains)
    broker.down(SERVERS)
    place = victims[first].position
    edit(folder(mine, "audit", place.partition), place.offset, removed(place.offset))
    place = victims[second].position
    edit(folder(mine, "audit", place.partition), place.offset, lambda rs: [_forged(r, place.offset) for r in rs])
    mine = restarted(broker, mine)

    report = await verified(mine)
    kinds: dict[str, set[str]] = {}
    for finding in report.faults:
        kinds.setdefault(finding.kind, set()).add(_log_of(finding))
    assert kinds["forged"] == {second}
    assert kinds["broken"] == kinds["uncovered"] == {first, second}
    assert set(kinds) == {"forged", "broken", "uncovered"}
    assert (await verified(mine, Wanted(topics=(TOPIC,), heads=kept))).faults != []


def _forged(record: Record, offset: int) -> Record:
    """The record with another signature, when it is the one."""
    if record.offset != offset:
        return record
    value = record.value or b""
    return replace(record, value=value[:-1] + (b"1" if value.endswith(b"0") else b"0"))


def _log_of(finding: Finding) -> str:
    if finding.log.startswith(f"{TOPIC}/"):
        return finding.log
    return next(word for word in finding.detail.split() if word.startswith(f"{TOPIC}/")).rstrip(",:")


async def test_a_log_and_its_checkpoints_cut_together_are_found_by_a_head_kept_elsewhere(
    broker: Stack, mine: Settings
) -> None:
    """Inside the log no trace is left of a clean cut; that is why heads are given to others."""
    chains = await signed(mine)
    log, chain = next((log, chain) for log, chain in sorted(chains.by_log.items()) if len(chain.links) > 2)
    kept, last = heads_of(chains), chain.links[-1]
    partition = int(log.split("/")[1])
    broker.down(SERVERS)
    _cut(folder(mine, TOPIC, partition), last.checkpoint.first)
    edit(folder(mine, "audit", last.position.partition), last.position.offset, removed(last.position.offset))
    mine = restarted(broker, mine)
    assert log not in {finding.log for finding in (await verified(mine)).faults}
    report = await verified(mine, Wanted(topics=(TOPIC,), heads=kept))
    assert ("unheld", log) in {(finding.kind, finding.log) for finding in report.faults}


def _cut(path: Path, end: int) -> None:
    (segment,) = path.glob("*.log")
    kept = b""
    for batch in batches(segment.read_bytes()):
        base, count = int.from_bytes(batch[:8], "big"), int.from_bytes(batch[57:61], "big")
        if base + count <= end:
            kept += batch
        elif base < end:
            kept += rebuilt(batch, [record for record in records_of(batch) if record.offset < end])
    put(segment, kept)


async def test_a_notary_that_finds_its_log_cut_says_so(broker: Stack, mine: Settings) -> None:
    """The chain ends behind the log: signing what comes next as if nothing had been would hide it."""
    await signed(mine, 100)
    partition = partition_of("key000000000", mine.kafka.partitions)
    broker.down(SERVERS)
    (segment,) = folder(mine, TOPIC, partition).glob("*.log")
    put(segment, b"".join(batches(segment.read_bytes())[:1]))
    mine = restarted(broker, mine)
    async with notary_here(mine) as health:
        await until(lambda: f"log {TOPIC}/{partition}" in health.components)
        assert not health.ready


async def test_a_report_has_the_verdict_on_a_signed_log(broker: Stack, mine: Settings) -> None:
    """An auditor reads it in the report: all as signed, and later which record is not, however well it reads."""
    facts = [served(number) for number in range(60)]
    async with notary_here(mine):
        async with FactWriter(mine, (await open_decoder(mine)).codec) as writer:
            positions = await writer.append_all(facts)
        await covered(mine, ("decisions",))
    good = await _unchanged(mine)
    assert good == {
        "name": "log_unchanged",
        "passed": True,
        "text": "Every record that was signed is as it was signed (60 records)",
        "evidence": good["evidence"],
    }
    assert any(place.startswith("decisions/") for place in good["evidence"])
    broker.down(SERVERS)
    place = positions[21]
    edit(folder(mine, "decisions", place.partition), place.offset, lambda rs: [_elsewhere(r, place.offset) for r in rs])
    bad = await _unchanged(restarted(broker, mine))
    assert not bad["passed"]
    assert bad["text"].startswith("The log is not what was signed")
    assert f"decisions/{place.partition}/{place.offset}: changed" in bad["text"]


async def _unchanged(settings: Settings) -> dict[str, Any]:
    """What `retrace report --verify` says of the log."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "console", "report", "--verify", "-o", "json"),
        env=child_environment(settings),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    found: list[dict[str, Any]] = json.loads(out)["verdicts"]
    return next(one for one in found if one["name"] == "log_unchanged")


def _elsewhere(record: Record, offset: int) -> Record:
    """The record, when it is the one, as if another server had answered."""
    value = record.value or b""
    return replace(record, value=value.replace(b"here/1", b"fake/1")) if record.offset == offset else record
