"""The notary on a real Kafka: every record gets under a checkpoint once, whatever happens to the notary."""

from itertools import pairwise
from pathlib import Path

import pytest
from confluent_kafka import Producer

from infra.audit import keys
from infra.audit.chain import Chains
from infra.audit.ledger import open_ledger
from infra.audit.verify import Wanted
from infra.health import Health
from infra.kafka.connect import librdkafka_options
from infra.kafka.ranges import ranges_now
from infra.kafka.topics import create_topics, physical
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.errors import Invalid, NotFound, Unavailable
from schemas.models import OffsetRange

from ...eventually import eventually
from .auditing import TOPIC, append, audited, chains_of, covered, notary_here, notary_process, until, verified


def assert_one_chain(chains: Chains) -> int:
    """Every chain of the topic is one, from the beginning and without a gap; how many records it covers."""
    records = 0
    for log, chain in chains.by_log.items():
        links = [link.checkpoint for link in chain.links]
        assert not chain.faults
        assert links[0].first == 0
        assert all(one.end == other.first for one, other in pairwise(links))
        assert [one.number for one in links] == list(range(1, len(links) + 1))
        records += sum(one.records for one in links) if log.startswith(f"{TOPIC}/") else 0
    return records


async def test_what_is_appended_is_signed_and_verifies(settings: Settings, tmp_path: Path) -> None:
    """The plain case, with checkpoints by number and by age."""
    mine = audited(settings, tmp_path)
    async with notary_here(mine) as health:
        await append(mine, 500)
        chains = await covered(mine)
        await append(mine, 7)
        chains = await covered(mine)
        await until(lambda: health.ready)
    assert assert_one_chain(chains) == 507
    assert max(link.checkpoint.records for c in chains.by_log.values() for link in c.links) <= 50
    report = await verified(mine)
    assert (report.faults, report.records, report.uncovered) == ([], 507, 0)


async def test_a_notary_goes_on_where_the_last_one_ended(settings: Settings, tmp_path: Path) -> None:
    """It keeps nothing itself; a new key does not begin a new chain."""
    mine = audited(settings, tmp_path)
    async with notary_here(mine):
        await append(mine, 100)
        await covered(mine)
    keys.rotate(mine)
    await append(mine, 100)
    async with notary_here(mine):
        chains = await covered(mine)
    assert assert_one_chain(chains) == 200
    assert len({link.checkpoint.key_id for c in chains.by_log.values() for link in c.links}) == 2
    assert (await verified(mine)).faults == []


async def test_two_notaries_at_once_and_kill_9_in_between_make_one_chain(settings: Settings, tmp_path: Path) -> None:
    """Real processes: the second one is spare, and a crash at any moment costs nothing and repeats nothing."""
    mine = audited(settings, tmp_path, seconds=0.05)
    running = [notary_process(mine), notary_process(mine)]
    try:
        count = 0
        for victim in (0, 1, 0):
            before = await _number(mine)
            while await _number(mine) == before:
                await append(mine, 100)
                count += 100
            running[victim].kill()
            running[victim].wait()
            running[victim] = notary_process(mine)
        chains = await covered(mine)
    finally:
        for process in running:
            process.kill()
            process.wait()
    assert assert_one_chain(chains) == count
    report = await verified(mine)
    assert (report.faults, report.records) == ([], count)


async def _number(settings: Settings) -> int:
    return sum(chain.head.number for chain in (await chains_of(settings)).by_log.values())


async def test_aborted_transactions_and_markers_are_no_records(settings: Settings, tmp_path: Path) -> None:
    """Their offsets hold nothing that a reader is given, so nothing is missing there."""
    mine = audited(settings, tmp_path)
    await create_topics(mine)
    producer = Producer(
        librdkafka_options(mine.kafka) | {"transactional.id": mine.topic_prefix, "partitioner": "murmur2_random"}
    )
    producer.init_transactions(60)
    for abort in (False, True, False):
        producer.begin_transaction()
        for number in range(20):
            producer.produce(physical(mine, TOPIC), b"value", b"key", partition=number % 2)
        producer.flush(60)
        if abort:
            producer.abort_transaction(60)
        else:
            producer.commit_transaction(60)

    async def visible() -> bool:  # what a commit makes visible may take a moment
        return sum(part.end for part in await ranges_now(mine, [TOPIC])) == 60 + 3 * 2

    await eventually(visible)
    async with notary_here(mine):
        chains = await covered(mine)
    assert assert_one_chain(chains) == 40
    report = await verified(mine)
    assert (report.faults, report.records, report.uncovered) == ([], 40, 0)


async def test_only_what_is_asked_for_is_verified(settings: Settings, tmp_path: Path) -> None:
    """A range is verified by the checkpoints that cover it, whole."""
    mine = audited(settings, tmp_path)
    async with notary_here(mine):
        await append(mine, 600)
        await covered(mine)
    window = OffsetRange(topic=TOPIC, partition=0, first=60, end=61)
    report = await verified(mine, Wanted(ranges=(window,)))
    (part,) = report.partitions
    assert (part.checkpoints, part.first <= 60 < part.end) == (1, True)
    assert part.records < 60


async def test_what_has_no_checkpoint_is_never_called_whole(settings: Settings, tmp_path: Path) -> None:
    """Silence would look like a good answer."""
    mine = audited(settings, tmp_path)
    await append(mine, 10)
    with pytest.raises(NotFound, match="retrace serve notary"):
        await verified(mine)
    async with notary_here(mine):
        await covered(mine)
    await append(mine, 10)
    report = await verified(mine)
    assert (report.faults, report.uncovered) == ([], 10)
    with pytest.raises(Invalid, match="gets no checkpoints"):
        await verified(mine, Wanted(topics=("audit",)))


async def test_the_notary_verifies_by_itself_now_and_then(settings: Settings, tmp_path: Path) -> None:
    """Nobody has to remember it; the result is on record, and red health is how a finding is heard of."""
    mine = audited(settings, tmp_path, verify_s=1)
    async with notary_here(mine) as health:
        await append(mine, 60)
        await covered(mine)
        await until(lambda: "60 records were as signed" in _note(health) and health.ready)
    decoder = await open_decoder(mine)
    async with open_ledger(mine, decoder, keys.public_keys(mine)) as ledger:
        verified_ = [one for log, one in ledger.verified.items() if log.startswith(f"{TOPIC}/")]
    assert sum(one.records for one in verified_) == 60
    assert all(one.findings == () for one in verified_)
    for path in mine.notary_public_keys.glob("*.pem"):
        path.unlink()
    keys.rotate(mine)
    async with notary_here(mine) as health:
        await until(lambda: "findings, the first" in _note(health))


def _note(health: Health) -> str:
    component = health.components.get("verification")
    return component.cause if component else ""


async def test_a_key_that_is_not_known_proves_nothing(settings: Settings, tmp_path: Path) -> None:
    """An auditor gives the key; a log that was signed anew under another one does not pass."""
    mine = audited(settings, tmp_path)
    async with notary_here(mine):
        await append(mine, 30)
        await covered(mine)
    other = audited(settings, tmp_path / "other")
    report = await verified(other)
    assert {finding.kind for finding in report.faults} == {"unknown_key"}


async def test_lost_leaf_hashes_cost_nothing_but_names(settings: Settings, tmp_path: Path) -> None:
    """The signed roots alone still show that everything is as it was."""
    mine = audited(settings, tmp_path)
    async with notary_here(mine):
        await append(mine, 100)
        await covered(mine)
    for path in (tmp_path / "artifacts" / "leaves").rglob("*"):
        if path.is_file():
            path.unlink()
    assert (await verified(mine)).faults == []


def test_a_signing_key_that_went_missing_is_not_replaced_in_silence(settings: Settings, tmp_path: Path) -> None:
    """Whoever lost it has to say that a new one is meant."""
    mine = audited(settings, tmp_path)
    assert mine.notary_key.stat().st_mode & 0o777 == 0o600
    mine.notary_key.unlink()
    with pytest.raises(Unavailable, match="rotate-key"):
        keys.prepare(mine)
    with pytest.raises(Unavailable, match="cannot be read"):
        keys.open_signer(mine)
    keys.rotate(mine)
    assert len(keys.public_keys(mine)) == 2
