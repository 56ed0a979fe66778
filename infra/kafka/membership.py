"""Sharing partitions among workers: a consumer group that assigns and fetches nothing.

For readers that keep their offsets themselves and read in their own way. The group only spreads the work: a member that
was away too long may still believe in partitions that another has by now, so the reader's own fence must hold.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

import structlog
from aiokafka import ConsumerRebalanceListener, TopicPartition

from infra.kafka.consumer import make_consumer, started
from infra.kafka.topics import logical, physical
from infra.settings import Settings

SESSION_TIMEOUT_MS = 6000
"""How long the partitions of a member that died without a word wait for another."""

NEVER_MS = 2**31 - 1
"""We never poll; only a missing heartbeat ends a membership."""

log = structlog.get_logger()


class Share(Protocol):
    """Which partitions this worker is to read, as time goes on.

    Attributes:
        epoch: grows whenever that changes.
    """

    epoch: int

    def of(self, topic: str) -> frozenset[int]:
        """Partitions of a topic, now."""
        ...

    async def after(self, epoch: int) -> None:
        """Return when this epoch is over."""
        ...


class Whole:
    """The share of a worker that has no others beside it.

    Args:
        partitions: how many each topic has.
    """

    def __init__(self, partitions: Mapping[str, int]) -> None:
        self.epoch = 1
        self._partitions = partitions

    def of(self, topic: str) -> frozenset[int]:
        """See `Share`."""
        return frozenset(range(self._partitions[topic]))

    async def after(self, epoch: int) -> None:
        """See `Share`; never."""
        await asyncio.Event().wait()


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]
    """The share of a member of a consumer group; made by `join`."""

    def __init__(self, settings: Settings, group: str) -> None:
        self._settings = settings
        self._assigned: frozenset[TopicPartition] = frozenset()
        self._moved = asyncio.Event()
        self.epoch = 0
        self.consumer = make_consumer(
            settings,
            group=group,
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=SESSION_TIMEOUT_MS // 4,
            max_poll_interval_ms=NEVER_MS,
        )

    def of(self, topic: str) -> frozenset[int]:
        """See `Share`; empty while the group is forming."""
        name = physical(self._settings, topic)
        return frozenset(at.partition for at in self._assigned if at.topic == name)

    async def after(self, epoch: int) -> None:
        """See `Share`."""
        while self.epoch == epoch:
            await self._moved.wait()

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Stop reading: another may begin from here on."""
        self._now(self._assigned - set(revoked))

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Begin to read."""
        assigned = frozenset(assigned)
        self.consumer.pause(*assigned)
        self._now(assigned)
        named = sorted(f"{logical(self._settings, at.topic)}/{at.partition}" for at in assigned)
        log.info("partitions assigned", partitions=named)

    def _now(self, assigned: frozenset[TopicPartition]) -> None:
        self._assigned = assigned
        self.epoch += 1
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


@asynccontextmanager
async def join(settings: Settings, group: str, topics: Collection[str]) -> AsyncIterator[Membership]:
    """Be a member of a group that shares the partitions of these topics.

    Raises:
        Unavailable: the brokers do not answer.
    """
    membership = Membership(settings, group)
    membership.consumer.subscribe([physical(settings, topic) for topic in topics], listener=membership)
    async with started(settings, membership.consumer):
        yield membership
