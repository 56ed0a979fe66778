"""The role `scheduler`: fires what is due, and sends what was fired.

Two steps, each taken from the log: first it asks the schedule to fire, which is decided like any command, and only when
that is on record it sends the scheduled command, under an id that follows from the schedule. Whatever happens in
between, the next scheduler reads the same log and goes on; what it repeats takes effect once. Two at once, or one that
wakes up late, do no harm.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn
from uuid import UUID

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from prometheus_client import Counter, Gauge, Histogram

from commands.api.answering import filled
from commands.api.carried import carried_record
from commands.api.personal import People
from commands.api.sender import CommandSender
from commands.scheduler.agenda import Agenda, Due, Identity
from infra.health import Health
from infra.kafka.consumer import make_consumer, stopped
from infra.kafka.past import recall
from infra.kafka.records import Decoder, Raw, from_aiokafka
from infra.kafka.topics import physical
from infra.kafka.watch import watch
from infra.personal.keys import Keys
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.codec import from_fields
from schemas.envelope import Meta, Recorded
from schemas.errors import Problem, Unavailable
from schemas.identity import derived_id
from schemas.schedules import FireSchedule, ReportSent

GROUP = "scheduler"
TOPIC = "schedules"
SOURCE = "retrace/scheduler"
AT_ONCE = 500
AGAIN_AFTER_S = 10.0
LONGEST_WAIT_S = 0.5

PENDING = Gauge("retrace_schedules_pending", "Scheduled commands that wait for their time.")
OLDEST = Gauge("retrace_schedules_oldest_due_seconds", "How long ago the next one was due; negative: how soon.")
LATENESS = Histogram(
    "retrace_schedule_lateness_seconds",
    "From the due time to the request to fire.",
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300, 3600),
)
SENT = Counter("retrace_schedules_sent_total", "Scheduled commands sent, or found impossible to send.", ["outcome"])

log = structlog.get_logger()


async def work(settings: Settings, health: Health) -> None:
    """Fire and send until cancelled."""
    health.failed("schedules", "opening")
    decoder = await open_decoder(settings)
    async with CommandSender(settings, decoder.codec) as sender:
        await Scheduler(settings, health, decoder, sender).run()


class Scheduler(ConsumerRebalanceListener):  # type: ignore[misc]
    """A member of the group, with an agenda for each partition that it is assigned."""

    def __init__(self, settings: Settings, health: Health, decoder: Decoder, sender: CommandSender) -> None:
        self._settings = settings
        self._health = health
        self._decoder = decoder
        self._sender = sender
        self._people = People(Keys(settings))
        self._agendas: dict[TopicPartition, Agenda] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._asked: dict[Due, float] = {}
        self._consumer: AIOKafkaConsumer = make_consumer(settings, group=GROUP, fetch_max_wait_ms=100)

    async def run(self) -> NoReturn:
        """Follow the log and the clock, for ever."""
        self._consumer.subscribe([physical(self._settings, TOPIC)], listener=self)
        try:
            await self._consumer.start()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(watch(self._settings, self._health, self._consumer, self._any_partition))
                while True:
                    await self._read()
                    await self._act()
        finally:
            await stopped(self._consumer)

    def _any_partition(self) -> TopicPartition | None:
        return next(iter(self._agendas), None)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Forget them: whoever has them next reads them from the beginning."""
        for at in revoked:
            self._agendas.pop(at, None)
            self._ends.pop(at, None)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Read them from the beginning, once `_recall` has been there."""
        for at in assigned:
            self._agendas[at] = Agenda()
            self._consumer.pause(at)
        log.info("partitions assigned", partitions=[at.partition for at in self._agendas])

    async def _read(self) -> None:
        try:
            await self._recall([at for at in self._agendas if at not in self._ends])
            got: Mapping[TopicPartition, Sequence[Any]] = await self._consumer.getmany(timeout_ms=self._patience_ms())
        except (KafkaError, IllegalStateError, Unavailable) as fault:
            self._health.failed("schedules", f"they cannot be read: {fault!r}")
            await asyncio.sleep(LONGEST_WAIT_S)
            return
        for at, records in got.items():
            await self._take(at, [from_aiokafka(record, self._settings.topic_prefix) for record in records])
        PENDING.set(sum(map(len, self._agendas.values())))

    async def _recall(self, new: Sequence[TopicPartition]) -> None:
        """Take what Kafka no longer has of these, and let come what it has.

        Raises:
            Incompatible: the archive does not have it either.
            IllegalStateError: one of them was taken away meanwhile.
        """
        for at in new:
            self._agendas[at] = Agenda()  # if this was tried before
        reached = dict.fromkeys(new, 0)
        await recall(self._settings, self._consumer, reached, self._take)
        ends = await self._consumer.end_offsets(new) if new else {}
        for at, offset in reached.items():
            self._consumer.seek(at, offset)
            self._consumer.resume(at)
            self._ends[at] = ends[at]

    async def _take(self, at: TopicPartition, raws: Sequence[Raw]) -> None:
        await self._decoder.learn(raw for raw in raws if raw.counts)
        agenda = self._agendas.get(at)
        for raw in raws if agenda is not None else ():
            recorded = self._decoder.decode(raw)
            if recorded is not None and agenda is not None:
                agenda.take(recorded)

    def _patience_ms(self) -> int:
        """How long to wait for news: until the next one is due. The clock may jump, so never for long."""
        due = [at for agenda in self._agendas.values() if (at := agenda.next_at()) is not None]
        if not due:
            OLDEST.set(0)
            return int(LONGEST_WAIT_S * 1000)
        wait_s = (min(due) - datetime.now(UTC)).total_seconds()
        OLDEST.set(-wait_s)
        return int(1000 * min(max(wait_s, 0.001), LONGEST_WAIT_S))

    async def _act(self) -> None:
        """Ask what is due to fire, send what was fired; only where the log has been read to its end."""
        ready = [agenda for at, agenda in self._agendas.items() if await self._is_read(at)]
        if len(ready) < len(self._agendas):
            return
        try:
            for agenda in ready:
                self._ask_again(agenda)
                await self._fire(agenda)
                await self._send(agenda)
        except Unavailable as fault:
            self._health.failed("schedules", fault.detail)
            await asyncio.sleep(LONGEST_WAIT_S)
        else:
            self._health.ok("schedules", f"{sum(map(len, self._agendas.values()))} pending")

    async def _is_read(self, at: TopicPartition) -> bool:
        return at in self._ends and await self._consumer.position(at) >= self._ends[at]

    def _ask_again(self, agenda: Agenda) -> None:
        """What was asked to fire a while ago and did not may have been lost."""
        now = time.monotonic()
        for due in [due for due, asked_at in self._asked.items() if now - asked_at > AGAIN_AFTER_S]:
            del self._asked[due]
            agenda.again(due)

    async def _fire(self, agenda: Agenda) -> None:
        due: list[Due] = []
        for one in agenda.due(datetime.now(UTC)):
            due.append(one)
            if len(due) == AT_ONCE:
                break
        try:
            await asyncio.gather(*(self._ask(one) for one in due))
        except Unavailable:
            for one in due:
                self._asked.pop(one, None)
                agenda.again(one)
            raise

    async def _ask(self, due: Due) -> None:
        _, schedule_id = due.identity
        command = FireSchedule(schedule_id=schedule_id, revision=due.revision)
        self._asked[due] = time.monotonic()
        await self._say(command, due.identity, f"fire/{schedule_id}/{due.revision}")
        LATENESS.observe(max(0.0, (datetime.now(UTC) - due.at).total_seconds()))

    async def _send(self, agenda: Agenda) -> None:
        chosen = list(agenda.fired.items())[:AT_ONCE]
        await asyncio.gather(*(self._send_one(identity, fired) for identity, fired in chosen))
        for identity, _ in chosen:
            agenda.fired.pop(identity, None)

    async def _send_one(self, identity: Identity, fired: Recorded) -> None:
        event, problem = fired.event, ""
        try:
            contract, given = carried_record(event.command_type, event.data)
            command_id = UUID(event.sent_command_id)
            fields, fingerprint = await self._people.sealed(
                contract, filled(contract, given, command_id), identity[0], trusted=True
            )
            meta = Meta(
                id=command_id,
                type=contract.full_name,
                source=SOURCE,
                subject=fields[contract.key or ""],
                time=datetime.now(UTC),
                actor=event.actor,
                tenant=identity[0],
                correlation_id=event.correlation_id,
                causation_id=str(fired.meta.id),
                fingerprint=fingerprint,
            )
            await self._sender.send(from_fields(contract.full_name, fields), meta)
        except Unavailable:
            raise
        except Problem as fault:
            problem = fault.detail
            log.error("scheduled command cannot be sent", schedule=identity[1], code=fault.code, cause=fault.detail)
        report = ReportSent(schedule_id=identity[1], revision=event.revision, problem=problem[:2000])
        await self._say(report, identity, f"sent/{identity[1]}/{event.revision}")
        SENT.labels("failed" if problem else "sent").inc()

    async def _say(self, command: FireSchedule | ReportSent, identity: Identity, key: str) -> None:
        """Send a command of our own, under an id that says what it is: saying it twice does no harm."""
        tenant, schedule_id = identity
        meta = Meta(
            id=derived_id(tenant, f"scheduler/{key}"),
            type=command.AVRO,
            source=SOURCE,
            subject=schedule_id,
            time=datetime.now(UTC),
            actor="scheduler",
            tenant=tenant,
            fingerprint=key,
        )
        await self._sender.send(command, meta)
