"""The topic `audit`, folded into chains as it grows."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from infra.audit.chain import Chains
from infra.audit.follow import Follower, Grown
from infra.audit.keys import PublicKeys
from infra.audit.partition import AUDIT, Partition
from infra.kafka.fetch import open_client
from infra.kafka.ranges import ranges_now
from infra.kafka.records import Decoder, from_block
from infra.settings import Settings
from schemas.audit import LogCheckpointed, LogVerified
from schemas.errors import Incompatible, Unavailable
from schemas.position import Position
from schemas.topics import TOPICS

SILENCE_S = 30.0
WAIT_MS = 200


class Ledger:
    """Reads `audit` on and on.

    Attributes:
        chains: as far as it has been read.
        foreign: records on the topic that cannot be read as what belongs there, with the cause.
        verified: the last verification of each partition.
    """

    def __init__(self, follower: Follower, decoder: Decoder, chains: Chains, starts: dict[int, int]) -> None:
        self._follower = follower
        self._decoder = decoder
        self._reached = starts
        self.chains = chains
        self.foreign: list[tuple[Position, str]] = []
        self.verified: dict[str, LogVerified] = {}

    async def until(self, ends: Iterable[tuple[int, int]]) -> None:
        """Read on until every one of these partitions has been read up to its end.

        Raises:
            Unavailable: the brokers do not answer.
            Incompatible: the topic was cut, or holds a damaged batch.
        """
        wanted = dict(ends)
        async with _limit():
            while any(self._reached[partition] < end for partition, end in wanted.items()):
                for grown in await self._follower.read(wait_ms=WAIT_MS):
                    await self._take(grown)

    async def now(self) -> None:
        """Read what has come since, without waiting for more.

        Raises:
            Unavailable: the brokers do not answer.
            Incompatible: the topic was cut, or holds a damaged batch.
        """
        while found := await self._follower.read(wait_ms=0):
            for grown in found:
                await self._take(grown)

    async def _take(self, grown: Grown) -> None:
        if grown.fault:
            raise Incompatible(grown.fault, code="audit_unreadable")
        raws = [raw for b in grown.blocks for raw in from_block(b, TOPICS[AUDIT], grown.log.number)]
        for raw in raws:
            if grown.first <= raw.offset < grown.end:
                try:
                    await self._decoder.learn([raw])
                    recorded = self._decoder.decode(raw)
                except Incompatible as fault:
                    self.foreign.append((raw.position, fault.detail))
                    continue
                if recorded is not None:
                    self._fold(raw.key, recorded.event, raw.position)
        self._reached[grown.log.number] = grown.end

    def _fold(self, key: str, event: object, position: Position) -> None:
        match event:
            case LogCheckpointed(log=log) if log == key:
                self.chains.fold(event, position)
            case LogVerified(log=log) if log == key:
                self.verified[log] = event
            case _:
                self.foreign.append((position, f"it is not under the key of what it says: {key}"))


@asynccontextmanager
async def open_ledger(
    settings: Settings,
    decoder: Decoder,
    keys: PublicKeys,
    *,
    keep: bool = True,
    again: Callable[[], PublicKeys] | None = None,
) -> AsyncIterator[Ledger]:
    """The topic, read up to where it ends now.

    Args:
        keep: whether checkpoints are kept, see `Chains`.
        again: see `Chains`.

    Raises:
        Unavailable: the brokers do not answer.
        Incompatible: the topic holds a damaged batch, or the archive that has its beginning is damaged.
    """
    ranges = await ranges_now(settings, [AUDIT])
    starts = {part.partition: part.first for part in ranges}
    async with open_client(settings, [AUDIT]) as client:
        follower = Follower(client, settings, {Partition(AUDIT, n): first for n, first in starts.items()})
        ledger = Ledger(follower, decoder, Chains(keys, keep=keep, again=again), starts)
        try:
            await ledger.until((part.partition, part.end) for part in ranges)
            yield ledger
        finally:
            await follower.close()


@asynccontextmanager
async def _limit() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(SILENCE_S):
            yield
    except TimeoutError as fault:
        raise Unavailable(f"{AUDIT} could not be read to its end in {SILENCE_S:.0f} s: try again") from fault
