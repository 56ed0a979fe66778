"""Reads a small decided topic from its first record each time, as one member of a consumer group.

For readers whose state is a fold: nothing is kept between runs, so nothing can disagree with the log. The committed
offset only tells what an earlier run has dealt with.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from infra.kafka.consumer import make_consumer, stopped
from infra.kafka.past import recall
from infra.kafka.records import Decoder, Raw, from_aiokafka
from infra.kafka.topics import physical
from infra.settings import Settings
from schemas.envelope import Recorded
from schemas.errors import Unavailable

POLL_MS = 200
SESSION_MS = 10_000


@dataclass(frozen=True)
class Heard:
    """An event, and whether an earlier run has dealt with it."""

    recorded: Recorded
    handled: bool


@dataclass(frozen=True)
class Batch:
    """What one poll brought.

    Attributes:
        events: in the order of each partition.
        restarted: the partitions have changed; forget everything, the events begin again at the first.
        caught_up: everything that was in the topic when the partitions were assigned has been heard.
    """

    events: tuple[Heard, ...]
    restarted: bool
    caught_up: bool


class Follower(ConsumerRebalanceListener):  # type: ignore[misc]
    """One member of the group `group` over `topic`; use it as an async context manager.

    Without a group it reads every partition, however many others do.

    Raises:
        Unavailable: the brokers do not answer at the start. Later it waits for them.
    """

    def __init__(self, settings: Settings, decoder: Decoder, *, group: str | None, topic: str) -> None:
        self._settings = settings
        self._decoder = decoder
        self._topic = physical(settings, topic)
        self._group = group
        self._consumer = make_consumer(
            settings,
            group=group,
            fetch_max_wait_ms=POLL_MS,
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=SESSION_MS // 5,
            metadata_max_age_ms=30_000,
        )
        self._reassigned = group is None  # without a group nobody tells that the partitions are given out
        self._handled: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._read: dict[TopicPartition, int] = {}
        self._past: list[Raw] = []

    async def __aenter__(self) -> Self:
        self._consumer.subscribe([self._topic], listener=self)
        try:
            await self._consumer.start()
        except (KafkaError, OSError) as fault:
            await stopped(self._consumer)
            raise Unavailable(f"Kafka at {self._settings.kafka.bootstrap} does not answer: {fault!r}") from fault
        return self

    async def __aexit__(self, *exception: object) -> None:
        await stopped(self._consumer)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Kafka takes partitions away; the new assignment follows."""

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Kafka has given partitions out anew."""
        self._reassigned = True

    async def poll(self) -> Batch:
        """What has come since the last poll; waits a moment when there is nothing.

        Raises:
            Incompatible: an event cannot be read, or neither Kafka nor the archive has the first ones.
            Unavailable: the registry or the brokers are away; poll again.
        """
        fetched = await self._consumer.getmany(timeout_ms=POLL_MS)
        if self._reassigned:
            await self._begin_again()
            return Batch((), restarted=True, caught_up=False)
        raws, self._past = self._past, []
        raws += [from_aiokafka(r, self._settings.topic_prefix) for records in fetched.values() for r in records]
        try:
            await self._decoder.learn(raws)
        except Unavailable:
            self._reassigned = True
            raise
        return Batch(tuple(self._heard(raws)), restarted=False, caught_up=self._caught_up())

    async def commit(self) -> None:
        """Say that all that was polled has been dealt with; without effect when the partitions have just moved on."""
        with suppress(CommitFailedError, IllegalStateError):
            await self._consumer.commit()

    def _heard(self, raws: Iterable[Raw]) -> Iterable[Heard]:
        for raw in raws:
            partition = TopicPartition(self._topic, raw.partition)
            self._read[partition] = max(raw.offset + 1, self._read.get(partition, 0))
            recorded = self._decoder.decode(raw) if raw.tenant == self._settings.tenant else None
            if recorded is not None:
                yield Heard(recorded, raw.offset < self._handled.get(partition, 0))

    async def _begin_again(self) -> None:
        """Go back to the first record; what is given out meanwhile is begun again at the next poll."""
        self._reassigned = False
        try:
            await self._go_back()
        except BaseException:
            self._reassigned = True
            raise

    async def _go_back(self) -> None:
        partitions: list[Any] = sorted(self._consumer.assignment())
        try:
            self._handled = {p: await self._committed(p) for p in partitions}
            self._ends = await self._consumer.end_offsets(partitions) if partitions else {}
            self._past, self._read = [], dict.fromkeys(partitions, 0)
            await recall(self._settings, self._consumer, self._read, self._remember)
            for partition, offset in self._read.items():
                self._consumer.seek(partition, offset)
        except (KafkaError, IllegalStateError) as fault:
            raise Unavailable(f"Kafka does not tell where {self._topic} ends: {fault!r}") from fault

    async def _remember(self, _: TopicPartition, raws: Sequence[Raw]) -> None:
        self._past += raws

    async def _committed(self, partition: TopicPartition) -> int:
        return 0 if self._group is None else await self._consumer.committed(partition) or 0

    def _caught_up(self) -> bool:
        return all(self._read.get(partition, 0) >= end for partition, end in self._ends.items())
