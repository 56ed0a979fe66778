"""The role `notary`: signs what every partition holds, range by range, on the topic `audit`.

It keeps nothing: at each start `audit` says where every chain ends, and the log has the rest. A checkpoint counts only
when it follows the last one (`infra.audit.chain`), so a second notary, an old one that wakes up, or a repeat after a
crash adds nothing to a chain; docs/explanation/tamper-evidence.md tells what that is worth.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import structlog
from prometheus_client import Counter, Gauge
from uuid6 import uuid7

from infra.audit.draft import Draft
from infra.audit.follow import Follower, Grown
from infra.audit.keys import Signer, keep_public, open_signer, prepare, public_keys
from infra.audit.leaf import leaves_of
from infra.audit.leafstore import LeafStore
from infra.audit.ledger import Ledger, open_ledger
from infra.audit.merkle import root
from infra.audit.partition import Partition, followed
from infra.audit.rounds import ACTOR, verify_now_and_then
from infra.audit.statement import digest, signed
from infra.health import Health
from infra.kafka.facts import FactWriter
from infra.kafka.fetch import open_client
from infra.kafka.ranges import ranges_now
from infra.registry.enlist import open_decoder
from infra.settings import NotarySettings, Settings
from schemas.audit import LogCheckpointed
from schemas.envelope import Meta
from schemas.errors import Incompatible, Unavailable

WAIT_MS = 500
JITTER = 0.2
"""Share of the time between checkpoints that a notary may wait longer, so that two rarely sign the same range."""

SIGNED = Counter("retrace_notary_checkpoints_total", "Checkpoints that count.")
OVERTAKEN = Counter("retrace_notary_overtaken_total", "Checkpoints of ours that came after those of another notary.")
RECORDS = Counter("retrace_notary_records_total", "Records under checkpoints that count.")
LAG = Gauge("retrace_notary_lag_offsets", "Offsets that no checkpoint covers yet.", ["topic"])
LAG_S = Gauge("retrace_notary_lag_seconds", "Age of the oldest record read that no checkpoint covers yet.")

log = structlog.get_logger()


async def work(settings: Settings, health: Health) -> None:
    """Sign what comes until cancelled.

    Raises:
        Unavailable: Kafka, the registry, the store of leaf hashes or the signing key is away.
        Incompatible: `audit` was cut or damaged.
    """
    prepare(settings)
    keep_public(settings, open_signer(settings))
    health.failed("log", "not read yet")
    decoder, keys = await open_decoder(settings), partial(public_keys, settings)
    async with (
        FactWriter(settings, decoder.codec) as writer,
        open_ledger(settings, decoder, keys(), keep=False, again=keys) as ledger,
        _log(settings, ledger) as (follower, drafts),
        asyncio.TaskGroup() as beside,
    ):
        beside.create_task(verify_now_and_then(settings, decoder, ledger, writer, health))
        notary = Notary(settings, ledger, writer, drafts)
        while True:
            for grown in await follower.read(wait_ms=WAIT_MS):
                await notary.take(grown, health)
            await notary.sign_due()
            notary.tell(health)


@asynccontextmanager
async def _log(settings: Settings, ledger: Ledger) -> AsyncIterator[tuple[Follower, dict[Partition, Draft]]]:
    """Every partition, from where its chain ends; from its beginning where there is none."""
    topics = followed()
    drafts: dict[Partition, Draft] = {}
    for part in await ranges_now(settings, topics):
        place = Partition(part.topic, part.partition)
        head = ledger.chains.of(str(place)).head
        first = part.first if head.end is None else head.end
        drafts[place] = Draft(first, first, part.end)
    async with open_client(settings, topics) as client:
        follower = Follower(client, settings, {place: draft.first for place, draft in drafts.items()}, ahead=True)
        try:
            yield follower, drafts
        finally:
            await follower.close()


@dataclass(frozen=True)
class _Signing:
    """A checkpoint that is on its way."""

    place: Partition
    checkpoint: LogCheckpointed


class Notary:
    """Takes what the log grows by and signs it.

    Args:
        drafts: the open end of every partition.
    """

    def __init__(
        self, settings: Settings, ledger: Ledger, writer: FactWriter, drafts: Mapping[Partition, Draft]
    ) -> None:
        self._settings = settings
        self._rate: NotarySettings = settings.notary
        self._ledger = ledger
        self._writer = writer
        self._drafts = drafts
        self._store = LeafStore(settings)
        self._faults: dict[Partition, str] = {}
        self._patience_s = self._drawn()

    async def take(self, grown: Grown, health: Health) -> None:
        """Hash what has come in one partition."""
        if not grown.fault:
            try:
                leaves = await asyncio.to_thread(leaves_of, grown.blocks, grown.first, grown.end)
                self._drafts[grown.log].take(leaves, grown.end, grown.log_end, time.monotonic())
                return
            except Incompatible as fault:
                self._faults[grown.log] = fault.detail
        else:
            self._faults[grown.log] = grown.fault
        cause = f"{self._faults[grown.log]}; `retrace audit verify` tells what is left"
        log.error("partition is not signed any more", log=str(grown.log), cause=cause)
        health.failed(f"log {grown.log}", cause)

    async def sign_due(self) -> None:
        """Sign every partition whose time has come.

        Raises:
            Unavailable: leaf hashes cannot be kept, or `audit` does not take checkpoints; the work begins again.
        """
        while due := self._due():
            await self._ledger.now()
            self._follow_chains()
            await self._sign([place for place in due if self._drafts[place].end > self._drafts[place].first])
            self._patience_s = self._drawn()

    def tell(self, health: Health) -> None:
        """Say how far behind the checkpoints are."""
        now = time.monotonic()
        waiting: dict[str, int] = {}
        for place, draft in self._drafts.items():
            waiting[place.topic] = waiting.get(place.topic, 0) + draft.waiting
        for topic, offsets in waiting.items():
            LAG.labels(topic).set(offsets)
        LAG_S.set(max((now - draft.since for draft in self._drafts.values() if draft.since is not None), default=0))
        health.ok("log", f"{sum(waiting.values())} offsets wait for a checkpoint")

    def _due(self) -> list[Partition]:
        now = time.monotonic()
        return [
            place
            for place, draft in self._drafts.items()
            if place not in self._faults and draft.is_due(self._rate.records, self._patience_s, now)
        ]

    async def _sign(self, places: list[Partition]) -> None:
        if not places:
            return
        signer = open_signer(self._settings)
        keep_public(self._settings, signer)
        signing = [await asyncio.to_thread(self._draw_up, place, signer) for place in places]
        positions = await self._writer.append_all([(one.checkpoint, _meta(one.checkpoint)) for one in signing])
        await self._ledger.until((position.partition, position.offset + 1) for position in positions)
        for one in signing:
            self._count(one)
        self._follow_chains()

    def _draw_up(self, place: Partition, signer: Signer) -> _Signing:
        """A checkpoint over what has been read, its leaf hashes kept."""
        draft, head = self._drafts[place], self._ledger.chains.of(str(place)).head
        end, leaves = draft.closed(self._rate.records)
        checkpoint = LogCheckpointed(
            log=str(place),
            origin=self._rate.origin,
            number=head.number + 1,
            first=draft.first,
            end=end,
            records=len(leaves),
            root=root(leaves.hashes).hex(),
            leaves_sha256=self._store.put(leaves),
            previous=head.sha256,
            signed_at=datetime.now(UTC),
            key_id="",
            signature="",
        )
        return _Signing(place, signed(checkpoint, signer))

    def _count(self, one: _Signing) -> None:
        """See what became of a checkpoint: the chain says it."""
        head = self._ledger.chains.of(one.checkpoint.log).head
        if head.number < one.checkpoint.number:
            raise Unavailable(f"the checkpoint of {one.place} was appended and does not count: it is made again")
        if head.sha256 == digest(one.checkpoint):
            SIGNED.inc()
            RECORDS.inc(one.checkpoint.records)
        else:
            OVERTAKEN.inc()

    def _follow_chains(self) -> None:
        now = time.monotonic()
        for place, draft in self._drafts.items():
            draft.follow(self._ledger.chains.of(str(place)).head, now)

    def _drawn(self) -> float:
        return self._rate.seconds * random.uniform(1, 1 + JITTER)


def _meta(checkpoint: LogCheckpointed) -> Meta:
    return Meta(
        id=uuid7(),
        type=checkpoint.AVRO,
        source=f"retrace/{ACTOR}",
        subject=checkpoint.log,
        time=checkpoint.signed_at,
        actor=ACTOR,
    )
