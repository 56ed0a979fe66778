"""A log with a notary, for the tests of both."""

import asyncio
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from subprocess import DEVNULL, Popen

from uuid6 import uuid7

from infra.audit import keys, notary
from infra.audit.chain import Chains
from infra.audit.ledger import open_ledger
from infra.audit.verify import Report, Wanted, verify
from infra.health import Health
from infra.kafka.facts import FactWriter
from infra.kafka.ranges import ranges_now
from infra.registry.enlist import open_decoder
from infra.settings import Settings, child_environment
from infra.stack.stack import merged
from schemas.envelope import Meta
from schemas.errors import Unavailable
from schemas.usage import ApiKeyUsed

from ...eventually import eventually
from ...roles import running

ROOT = Path(__file__).parents[3]
TOPIC = "usage"


def audited(settings: Settings, folder: Path, **rate: float) -> Settings:
    """The same with a signing key and keys of its own, and with checkpoints soon and small."""
    own = {"key_file": folder / "notary.key", "public_keys": folder / "public", "verify_s": 0}
    changed = Settings(
        **merged(settings.model_dump(exclude_unset=True), {"notary": {"records": 50, "seconds": 0.3, **own, **rate}})
    )
    keys.prepare(changed)
    return changed


def used(number: int) -> tuple[ApiKeyUsed, Meta]:
    """A fact; facts of neighbouring numbers go to different partitions."""
    key_id = f"key{number % 23:09d}"
    event = ApiKeyUsed(key_id=key_id, used_at=datetime.now(UTC), service=f"service {number}")
    return event, Meta(id=uuid7(), type=event.AVRO, source="test", subject=key_id, time=event.used_at)


async def append(settings: Settings, count: int) -> None:
    """Append so many facts, in batches of a few."""
    decoder = await open_decoder(settings)
    async with FactWriter(settings, decoder.codec, linger_ms=2, timeout_s=60) as writer:
        for first in range(0, count, 20):
            await writer.append_all([used(number) for number in range(first, min(first + 20, count))])


def notary_here(settings: Settings) -> AbstractAsyncContextManager[Health]:
    """The role `notary` in this process."""
    return running(_working, settings, "notary")


async def _working(settings: Settings, health: Health) -> None:
    while True:
        try:
            await notary.work(settings, health)
        except* Unavailable:  # the service begins again, see `infra.service`
            await asyncio.sleep(0.2)


def notary_process(settings: Settings) -> "Popen[bytes]":
    """The role `notary` as a process of its own."""
    return Popen(
        [sys.executable, "-m", "console", "serve", "notary"],
        env=child_environment(settings),
        cwd=ROOT,
        stdout=DEVNULL,
        stderr=DEVNULL,
    )


async def chains_of(settings: Settings) -> Chains:
    """The chains as they stand."""
    decoder = await open_decoder(settings)
    async with open_ledger(settings, decoder, keys.public_keys(settings)) as ledger:
        return ledger.chains


async def covered(settings: Settings, topics: tuple[str, ...] = (TOPIC,), within_s: float = 180) -> Chains:
    """Wait until every record of these topics has a checkpoint."""
    chains = Chains({})

    async def done() -> bool:
        nonlocal chains
        try:
            ranges = await ranges_now(settings, topics)
            chains = await chains_of(settings)
        except Unavailable:  # topics that were made a moment ago have no leader yet
            return False
        ends = {f"{part.topic}/{part.partition}": part.end for part in ranges if part.end > part.first}
        return all((chains.of(log).head.end or 0) >= end for log, end in ends.items())

    await eventually(done, within_s, every_s=0.3)
    return chains


async def verified(settings: Settings, wanted: Wanted | None = None) -> Report:
    """What `retrace audit verify` finds."""
    decoder = await open_decoder(settings)
    return await verify(settings, decoder, keys.public_keys(settings), wanted or Wanted(topics=(TOPIC,)))


async def until(done: Callable[[], bool], timeout_s: float = 60) -> None:
    """Wait for something that happens by itself."""
    async with asyncio.timeout(timeout_s):
        while not done():
            await asyncio.sleep(0.05)
