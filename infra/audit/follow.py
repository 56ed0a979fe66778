"""Every partition of many topics, followed as record batches in one conversation with each broker.

As `infra.kafka.tail` does for one topic. A notary follows all of them, most of them quiet, so one request asks for all,
its size is bounded as a whole, and whoever was served goes to the end of the line.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from typing import Any

from aiokafka import AIOKafkaClient, TopicPartition
from aiokafka.errors import KafkaError, NoError, OffsetOutOfRangeError, for_code
from aiokafka.protocol.fetch import FetchRequest

from infra.audit.partition import Partition
from infra.kafka.block import Block, split
from infra.kafka.fetch import READ_COMMITTED, fetch, leader_of, standing
from infra.kafka.ranges import kafka_ranges
from infra.kafka.topics import logical, physical
from infra.settings import Settings
from schemas.errors import Incompatible, Invalid, Unavailable
from schemas.models import OffsetRange

ANSWER_BYTES = 8 << 20
"""Most of one answer, which bounds memory; a batch that is larger comes alone."""
PARTITION_BYTES = 2 << 20


@dataclass(frozen=True, slots=True)
class Grown:
    """What one partition has grown by.

    Attributes:
        first: where the reader stood.
        end: where it stands now.
        blocks: those that hold records, in order; the first may begin before `first`.
        log_end: where the partition ended when it was read.
        fault: why nothing more comes of this partition; empty while it does.
        is_outside: whether that is because Kafka does not have what is next.
    """

    log: Partition
    first: int
    end: int
    blocks: Sequence[Block]
    log_end: int
    fault: str = ""
    is_outside: bool = False


class Follower:
    """Reads on in every partition; what Kafka has deleted before it was read comes from the archive.

    Args:
        client: knows the topics; used by nobody else.
        reached: next offset of each partition.
        ahead: whether the next answer is asked for before the caller has worked on this one.
    """

    def __init__(
        self, client: AIOKafkaClient, settings: Settings, reached: Mapping[Partition, int], *, ahead: bool = False
    ) -> None:
        self._client = client
        self._settings = settings
        self._reached = dict(reached)
        self._ahead = ahead
        self._asked: dict[int, asyncio.Task[Any]] = {}

    async def read(self, *, wait_ms: int) -> list[Grown]:
        """What has come since; empty when nothing did in about `wait_ms`.

        Raises:
            Unavailable: a broker does not answer, or a partition is moving to another.
        """
        try:
            self._ask(wait_ms)
            done, _ = await asyncio.wait(
                self._asked.values(), timeout=wait_ms / 1000 + 1, return_when=asyncio.FIRST_COMPLETED
            )
            self._asked = {leader: task for leader, task in self._asked.items() if task not in done}
            asked = [grown for task in done for grown in self._grown(task.result())]
            found = [await self._archived(grown) if grown.is_outside else grown for grown in asked]
            if self._ahead and found:
                self._ask(wait_ms)
            return found
        except (KafkaError, OSError) as fault:
            with suppress(KafkaError, OSError):
                await self._client.force_metadata_update()
            raise Unavailable(f"Kafka at {self._settings.kafka.bootstrap} does not answer: {fault!r}") from fault

    async def close(self) -> None:
        """Stop asking."""
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)
        self._asked = {}

    def _ask(self, wait_ms: int) -> None:
        wanted: dict[int, dict[str, list[tuple[int, int, int]]]] = {}
        for log, offset in self._reached.items():
            name = physical(self._settings, log.topic)
            leader = leader_of(self._client, TopicPartition(name, log.number))
            wanted.setdefault(leader, {}).setdefault(name, []).append((log.number, offset, PARTITION_BYTES))
        for leader, topics in wanted.items():
            if leader not in self._asked:
                request = FetchRequest(wait_ms, 1, ANSWER_BYTES, READ_COMMITTED, list(topics.items()))
                self._asked[leader] = asyncio.create_task(self._client.send(leader, request))

    def _grown(self, response: Any) -> list[Grown]:
        late = response.API_VERSION >= 11
        found = []
        for topic, partitions in response.topics:
            for number, code, log_end, *rest in partitions:
                log = Partition(logical(self._settings, topic), number)
                aborted = (rest[2] if late else rest[-2]) or ()
                if (grown := self._one(log, code, log_end, aborted, rest[-1] or b"")) is not None:
                    found.append(grown)
        return found

    async def _archived(self, grown: Grown) -> Grown:
        """A part of what Kafka does not have, so that the next is asked for behind it; the same if nobody has it."""
        log, first = grown.log, grown.first
        ranges = await kafka_ranges(self._settings, {log.topic})
        begin, end = next((part.first, part.end) for part in ranges if part.partition == log.number)
        part = OffsetRange(topic=log.topic, partition=log.number, first=first, end=max(begin, first))
        try:
            async with aclosing(fetch(self._client, self._settings, [part])) as answers:
                async for fetched in answers:
                    self._reached[log] = first + fetched.passed
                    return Grown(log, first, first + fetched.passed, fetched.blocks, end)
        except (Invalid, Incompatible) as fault:
            return replace(grown, fault=f"{log} cannot be read at offset {first}: {fault.detail}")
        return grown

    def _one(
        self, log: Partition, code: int, log_end: int, aborted: Sequence[tuple[int, int]], data: bytes
    ) -> Grown | None:
        first = self._reached[log]
        try:
            if (error := for_code(code)) is not NoError:
                raise error()
            blocks = list(split(data))
        except (OffsetOutOfRangeError, Incompatible) as fault:
            del self._reached[log]
            what = f"{log} cannot be read at offset {first}: {fault}"
            return Grown(log, first, first, (), log_end, what, isinstance(fault, OffsetOutOfRangeError))
        if not blocks:
            return None
        end = max(blocks[-1].next_offset, first)
        del self._reached[log]
        self._reached[log] = end  # to the end of the line
        part = OffsetRange(topic=log.topic, partition=log.number, first=first, end=end)
        return Grown(log, first, end, tuple(standing(blocks, part, aborted)), log_end)
