"""A partition as it can be read now, Kafka and archive as one, damaged or not.

Kafka is asked for what it has; what it has deleted since is read from the archive; what neither has is a flaw, so that
nobody takes it for whole.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaClient

from infra.audit.partition import Partition
from infra.audit.scan import Flaw, Scanned, scan
from infra.kafka.ranges import kafka_ranges
from infra.settings import Settings
from schemas.errors import Incompatible
from schemas.models import OffsetRange

if TYPE_CHECKING:
    from infra.archive.reading import Holding


class Source:
    """Reads one partition.

    Args:
        client: knows the topic.
        kafka: the part of it that Kafka has.
    """

    def __init__(self, client: AIOKafkaClient, settings: Settings, log: Partition, kafka: OffsetRange) -> None:
        self._client, self._settings, self._log = client, settings, log
        self._holdings: Sequence[Holding] | None = None
        self._fault = ""
        self.kafka = kafka

    async def read(self, first: int, end: int) -> AsyncGenerator[Scanned, None]:
        """The records from `first` on and before `end`, piece by piece; ends early only behind a piece with a fault.

        Raises:
            Unavailable: brokers or archive do not answer.
        """
        offset = first
        while offset < end:
            deleted = offset < self.kafka.first
            pieces = self._deleted(offset, min(end, self.kafka.first)) if deleted else self._standing(offset, end)
            async with aclosing(pieces) as found:
                async for piece in found:
                    yield piece
                    offset = piece.end
                    if piece.fault:
                        return

    async def _standing(self, first: int, end: int) -> AsyncGenerator[Scanned, None]:
        """What Kafka has; ends early when that begins later than it did."""
        async with aclosing(scan(self._client, self._settings, self._log, first, end)) as pieces:
            async for piece in pieces:
                if piece.outside and await self._begins_later(piece.end):
                    return
                yield piece

    async def _begins_later(self, offset: int) -> bool:
        ranges = await kafka_ranges(self._settings, [self._log.topic])
        self.kafka = next(part for part in ranges if part.partition == self._log.number)
        return self.kafka.first > offset

    async def _deleted(self, first: int, end: int) -> AsyncGenerator[Scanned, None]:
        """What the archive has, up to where something else is to be read."""
        from infra.audit.archived import archived  # so that only who needs the archive carries its libraries

        holdings = await self._kept()
        held = next((one for one in holdings if one.first <= first < one.end), None)
        if held is None:
            end = min([end, *(one.first for one in holdings if one.first > first)])
            yield Scanned(end, flaws=[Flaw("unchecked", first, end - 1, self._nowhere())])
            return
        async with aclosing(archived(self._settings, held, first, min(end, held.end))) as pieces:
            async for piece in pieces:
                yield piece

    async def _kept(self) -> Sequence["Holding"]:
        from infra.archive.reading import holdings_of

        if self._holdings is None:
            try:
                self._holdings = await holdings_of(self._settings, self._log.topic, self._log.number)
            except Incompatible as fault:
                self._holdings, self._fault = [], fault.detail
        return self._holdings

    def _nowhere(self) -> str:
        if self._fault:
            return f"Kafka begins at {self.kafka.first}, and what was before cannot be checked: {self._fault}"
        return f"Kafka begins at {self.kafka.first} and the archive lacks this: it cannot be checked"


async def source_of(client: AIOKafkaClient, settings: Settings, log: Partition) -> Source:
    """The partition as it stands.

    Raises:
        Unavailable: the brokers do not answer.
    """
    ranges = await kafka_ranges(settings, [log.topic])
    return Source(client, settings, log, next(part for part in ranges if part.partition == log.number))
