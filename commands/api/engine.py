"""What the command API works with, opened again and again until Kafka and the registry answer."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

from commands.api.admission import Admission
from commands.api.answering import Answering
from commands.api.bulk.ledger import TOPIC as UPLOADS
from commands.api.bulk.ledger import Ledger
from commands.api.bulk.upload import Bulk
from commands.api.facts import Facts
from commands.api.outcomes import Outcomes
from commands.api.personal import People
from commands.api.sender import CommandSender
from commands.api.status import Status
from commands.api.tail import Tail
from infra.attempt import attempt
from infra.health import Health
from infra.kafka.bulk import BulkWriter
from infra.kafka.facts import FactWriter
from infra.kafka.watch import COMPONENT, watch
from infra.personal.keys import Keys
from infra.postgres import make_pool
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.contracts import contracts
from schemas.errors import Unavailable
from schemas.interactions import InteractionRecorded
from schemas.topics import DECIDED

RETRY_S = 1.0


@dataclass(frozen=True)
class Parts:
    """Everything that answers requests."""

    answering: Answering
    facts: Facts
    bulk: Bulk
    status: Status


class Engine:
    """Opens the parts, follows the log, and starts again after a fault."""

    def __init__(self, settings: Settings, health: Health) -> None:
        self._settings = settings
        self._health = health
        self._outcomes = Outcomes()
        self._parts: Parts | None = None

    @property
    def parts(self) -> Parts:
        """What answers requests.

        Raises:
            Unavailable: Kafka or the registry is away, or the log is still being read.
        """
        kafka = self._health.components.get(COMPONENT)
        if self._parts is None or (kafka is not None and not kafka.ok):
            causes = [f"{name}: {part.cause}" for name, part in self._health.components.items() if not part.ok]
            raise Unavailable(f"no command can be taken now ({'; '.join(causes) or 'starting'}): try again in a moment")
        return self._parts

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                cause = await attempt(self._attempt(), "command API")
            finally:
                self._parts = None
            self._health.failed("tail", cause)
            await asyncio.sleep(RETRY_S)

    async def _attempt(self) -> None:
        async with AsyncExitStack() as stack:
            await self._serve(stack)

    async def _serve(self, stack: AsyncExitStack) -> None:
        self._health.failed("tail", "opening")
        settings = self._settings
        decoder = await open_decoder(settings)
        sender = await stack.enter_async_context(CommandSender(settings, decoder.codec))
        writer = await stack.enter_async_context(FactWriter(settings, decoder.codec))
        bulk_writer = BulkWriter(settings)
        stack.push_async_callback(bulk_writer.close)
        pool = make_pool(settings, "commands", max_size=4)
        stack.push_async_callback(pool.close)
        await pool.open(wait=False)
        people = People(Keys(settings))
        await people.open()
        tail = Tail(settings, self._health, decoder, self._outcomes, people)
        stack.push_async_callback(tail.stop)
        await tail.start(await _partitions(sender))
        ledger = await stack.enter_async_context(
            Ledger(settings, self._health, decoder, writer, tail.asker, await sender.partitions(UPLOADS))
        )
        contract = contracts()[InteractionRecorded.AVRO]
        admission = Admission(settings.admission, self._health)
        parts = Parts(
            Answering(sender, self._outcomes, admission, people),
            Facts(settings, writer, tail, admission, people),
            Bulk(settings, decoder.codec, bulk_writer, tail, people, ledger, contract),
            Status(self._outcomes, pool),
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(tail.run())
            tasks.create_task(ledger.run())
            tasks.create_task(watch(settings, self._health, tail.asker, tail.any_partition))
            await tail.begin()
            self._parts = parts


async def _partitions(sender: CommandSender) -> Mapping[str, int]:
    return {name: await sender.partitions(name) for name in DECIDED}
