"""The role `eraser`: destroys the keys of people who are to be forgotten, and reports when every read model has.

The key goes at once; with it everything that was sealed under it is gone everywhere, in logs and backups too. The
report follows when the read models have come to the erasure, so that the log says from when on it was complete. What
was begun before a crash is begun again: the committed offsets stay before the first erasure that is not reported.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from prometheus_client import Counter, Gauge

from commands.api.sender import CommandSender
from commands.eraser.readmodels import ReadModels
from infra.health import Health
from infra.kafka.consumer import make_consumer, stopped
from infra.kafka.past import recall
from infra.kafka.records import Raw, from_aiokafka
from infra.kafka.topics import physical
from infra.kafka.watch import watch
from infra.personal.keys import Keys
from infra.personal.seal import Person
from infra.postgres import make_pool
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.envelope import Meta
from schemas.errors import Unavailable
from schemas.identity import derived_id
from schemas.profiles import ReportDestruction, UserErased

GROUP = "eraser"
TOPIC = "profiles"
SOURCE = "retrace/eraser"
COMPONENT = "erasures"
POLL_MS = 500
RETRY_S = 1.0

WAITING = Gauge("retrace_erasures_waiting", "Erasures that some read model has not come to.")
DESTROYED = Counter("retrace_personal_keys_destroyed_total", "Keys of people that were destroyed.")

log = structlog.get_logger()


@dataclass
class Erasure:
    """Somebody to be forgotten.

    Attributes:
        raw: the event.
        keys: how many were destroyed; None as long as that has not been done.
        reported: whether the report is on record.
    """

    raw: Raw
    keys: int | None = None
    reported: bool = False

    @property
    def person(self) -> Person:
        """Who."""
        return Person(self.raw.tenant, self.raw.key)


async def work(settings: Settings, health: Health) -> None:
    """Forget people until cancelled."""
    health.failed(COMPONENT, "opening")
    async with AsyncExitStack() as stack:
        decoder = await open_decoder(settings)
        sender = await stack.enter_async_context(CommandSender(settings, decoder.codec))
        pool = make_pool(settings, "eraser", max_size=2)
        stack.push_async_callback(pool.close)
        await pool.open(wait=False)
        await Eraser(settings, health, Keys(settings), ReadModels(pool), sender).run()


class Eraser(ConsumerRebalanceListener):  # type: ignore[misc]
    """A member of the group; each works on the erasures of its partitions."""

    def __init__(
        self, settings: Settings, health: Health, keys: Keys, models: ReadModels, sender: CommandSender
    ) -> None:
        self._settings = settings
        self._health = health
        self._keys = keys
        self._models = models
        self._sender = sender
        self._new: set[TopicPartition] = set()
        self._open: dict[TopicPartition, list[Erasure]] = {}
        self._read: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}
        self._consumer: AIOKafkaConsumer = make_consumer(settings, group=GROUP, fetch_max_wait_ms=POLL_MS)

    async def run(self) -> NoReturn:
        """Follow the log, for ever."""
        self._consumer.subscribe([physical(self._settings, TOPIC)], listener=self)
        try:
            await self._consumer.start()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(watch(self._settings, self._health, self._consumer, self._any_partition))
                while True:
                    await self._step()
        finally:
            await stopped(self._consumer)

    def _any_partition(self) -> TopicPartition | None:
        return next(iter(self._consumer.assignment()), None)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Leave them to whoever has them next; what is not reported is not committed either."""
        self._new -= set(revoked)
        for at in revoked:
            for kept in (self._open, self._read, self._committed):
                kept.pop(at, None)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Go on from what was committed, once `_recall` has been there."""
        self._new |= set(assigned)
        self._consumer.pause(*assigned)
        log.info("partitions assigned", partitions=[at.partition for at in assigned])

    async def _step(self) -> None:
        try:
            for at in list(self._new):
                await self._recall(at)
            got: Mapping[TopicPartition, Sequence[Any]] = await self._consumer.getmany(timeout_ms=POLL_MS)
            for at, records in got.items():
                await self._take(at, [from_aiokafka(record, self._settings.topic_prefix) for record in records])
            await self._destroy()
            await self._report()
            await self._commit()
        except (KafkaError, IllegalStateError, Unavailable) as fault:
            self._health.failed(COMPONENT, getattr(fault, "detail", "") or repr(fault))
            await asyncio.sleep(RETRY_S)
        else:
            waiting = sum(map(len, self._open.values()))
            WAITING.set(waiting)
            self._health.ok(COMPONENT, f"{waiting} wait for the read models" if waiting else "")

    async def _recall(self, at: TopicPartition) -> None:
        """Take what Kafka has deleted since it was committed to, and let come what it has.

        Raises:
            Incompatible: the archive does not have it either.
            IllegalStateError: the partition was taken away meanwhile.
        """
        reached = {at: await self._consumer.committed(at) or 0}
        self._open.pop(at, None)  # if this was tried before
        await recall(self._settings, self._consumer, reached, self._take)
        self._consumer.seek(at, reached[at])
        self._consumer.resume(at)
        self._new.discard(at)

    async def _take(self, at: TopicPartition, raws: Sequence[Raw]) -> None:
        found = [Erasure(raw) for raw in raws if raw.counts and _is_erasure(raw)]
        if found:
            self._open.setdefault(at, []).extend(found)
        self._read[at] = raws[-1].offset + 1

    async def _destroy(self) -> None:
        for erasure in (one for some in list(self._open.values()) for one in some if one.keys is None):
            erasure.keys = await self._keys.destroy(erasure.person)
            DESTROYED.inc(erasure.keys)
            log.info("key destroyed", position=str(erasure.raw.position), keys=erasure.keys)

    async def _report(self) -> None:
        for at, some in list(self._open.items()):
            for erasure in some:
                await self._report_one(erasure)
            left = [one for one in some if not one.reported]
            if left:
                self._open[at] = left
            else:
                self._open.pop(at, None)

    async def _report_one(self, erasure: Erasure) -> None:
        """Say that it is done, if it is; those of other tenants have read models elsewhere."""
        tenant, user_id = erasure.person
        removed: dict[str, int] | None = {}
        if tenant == self._settings.tenant:
            removed = await self._models.forgotten(user_id, erasure.raw.position)
        if removed is None:
            return
        command = ReportDestruction(
            user_id=user_id, position=str(erasure.raw.position), keys=erasure.keys or 0, removed=removed
        )
        await self._sender.send(command, _meta(command, tenant, erasure.raw))
        erasure.reported = True

    async def _commit(self) -> None:
        """Up to the first erasure that is not reported; losing partitions in this moment does no harm."""
        done = {at: self._open[at][0].raw.offset if at in self._open else end for at, end in self._read.items()}
        moved = {at: offset for at, offset in done.items() if self._committed.get(at) != offset}
        if not moved:
            return
        try:
            await self._consumer.commit(moved)
        except (CommitFailedError, IllegalStateError) as fault:
            log.info("not committed", cause=repr(fault))
        else:
            self._committed |= moved


def _is_erasure(raw: Raw) -> bool:
    return raw.header("ce_type") == UserErased.AVRO.encode()


def _meta(command: ReportDestruction, tenant: str, cause: Raw) -> Meta:
    """Under an id that says what it is: saying it twice does no harm."""
    key = f"eraser/{command.user_id}"
    return Meta(
        id=derived_id(tenant, key),
        type=command.AVRO,
        source=SOURCE,
        subject=command.user_id,
        time=datetime.now(UTC),
        actor="eraser",
        tenant=tenant,
        correlation_id=cause.header("correlationid").decode(),
        fingerprint=key,
    )
