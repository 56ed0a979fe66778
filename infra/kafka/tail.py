"""The end of a topic, followed as record batches: what `fetch` does for ranges that are known, while they grow."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from aiokafka import AIOKafkaClient, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError, for_code

from infra.kafka.block import Block, split
from infra.kafka.fetch import Archived, Piece, ask, leader_of, standing
from infra.kafka.patience import FINAL
from infra.kafka.topics import physical
from infra.settings import Settings
from schemas.errors import Incompatible, Unavailable
from schemas.models import OffsetRange

WAIT_MS = 500
"""How long a broker waits for news before it answers that there are none."""


@dataclass(frozen=True, slots=True)
class Growth:
    """What one partition has grown by.

    Attributes:
        first: where the reader stood.
        end: where it stands now; offsets in between that no block holds are no records.
        blocks: in order; the first may begin before `first`.
    """

    partition: int
    first: int
    end: int
    blocks: Sequence[Block]

    @property
    def count(self) -> int:
        """Records in its blocks; of an archive's, at most so many, since those are made only when somebody asks."""
        if isinstance(self.blocks, Archived):
            return self.end - self.first
        return sum(block.count for block in self.blocks)


class Tail:
    """Follows partitions of one topic; every broker is asked by itself, so that a quiet one holds up nobody.

    Args:
        client: knows the topic; used by nobody else.
        reached: next offset of every partition to follow.
    """

    def __init__(self, client: AIOKafkaClient, settings: Settings, topic: str, reached: Mapping[int, int]) -> None:
        self._client = client
        self._topic = topic
        self._name = physical(settings, topic)
        self._reached = dict(reached)
        self._asked: dict[int, asyncio.Task[list[Piece]]] = {}

    def follow(self, partition: int, offset: int) -> None:
        """Read on in one more partition, from an offset on."""
        self._reached[partition] = offset

    async def read(self, *, wait_ms: int) -> list[Growth]:
        """What has come since; empty when nothing did in about `wait_ms`.

        Raises:
            Unavailable: a broker does not answer, or a partition is moving to another.
            Incompatible: the log does not hold where the reader stands, or a batch is damaged.
        """
        try:
            self._ask()
            done, _ = await asyncio.wait(
                self._asked.values(), timeout=wait_ms / 1000, return_when=asyncio.FIRST_COMPLETED
            )
            self._asked = {leader: task for leader, task in self._asked.items() if task not in done}
            return [growth for task in done for piece in task.result() if (growth := self._growth(piece)) is not None]
        except FINAL as fault:
            raise self._lost(fault) from fault
        except (KafkaError, OSError) as fault:
            with suppress(KafkaError, OSError):
                await self._client.force_metadata_update()
            raise Unavailable(f"{self._topic} cannot be read: {fault!r}") from fault

    async def close(self) -> None:
        """Stop asking."""
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)
        self._asked = {}

    def _ask(self) -> None:
        """Ask each broker that owes no answer for all of its partitions."""
        offsets: dict[int, dict[int, int]] = {}
        for partition, offset in self._reached.items():
            leader = leader_of(self._client, TopicPartition(self._name, partition))
            offsets.setdefault(leader, {})[partition] = offset
        for leader, wanted in offsets.items():
            if leader not in self._asked:
                asking = ask(self._client, leader, self._name, wanted, wait_ms=WAIT_MS)
                self._asked[leader] = asyncio.create_task(asking)

    def _growth(self, piece: Piece) -> Growth | None:
        if piece.code:
            raise for_code(piece.code)()
        blocks = list(split(piece.data))
        if not blocks:
            return None
        first = self._reached[piece.partition]
        end = max(blocks[-1].next_offset, first)
        part = OffsetRange(topic=self._topic, partition=piece.partition, first=first, end=end)
        self._reached[piece.partition] = end
        return Growth(piece.partition, first, end, list(standing(blocks, part, piece.aborted)))

    def _lost(self, fault: KafkaError) -> Incompatible:
        if isinstance(fault, OffsetOutOfRangeError):
            return Incompatible(
                f"{self._topic} has no records at {self._reached}: it was cut or made anew; rebuild its read models",
                code="log_out_of_range",
            )
        return Incompatible(f"{self._topic} cannot be read at {self._reached}: {fault!r}")
