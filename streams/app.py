"""The role `streams`: a Faust app that feeds the log to the stages and appends what they say.

Faust delivers, and nothing depends on its guarantees. State and offsets are kept together in one file
(`streams.keeper`), repeats are recognised by their offset, and a record is acknowledged to Faust only when a kept state
includes it and everything said because of it is durable: at least once, with ids that make a repeat recognisable.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import faust
import structlog
from aiokafka.errors import KafkaError
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread

import streams.stages
from infra.discover import discover
from infra.health import Health
from infra.kafka.consumer import group_id
from infra.kafka.deadletters import DeadLetters
from infra.kafka.facts import FactWriter
from infra.kafka.records import Decoder, Raw
from infra.kafka.topics import logical, physical
from infra.kafka.watch import watched
from infra.registry.enlist import open_decoder
from infra.settings import KafkaSettings, Settings
from infra.telemetry import LAG
from schemas.contracts import contracts
from schemas.envelope import Meta, Recorded
from schemas.errors import Incompatible, Unavailable
from schemas.topics import TOPICS
from streams.fold import Fold
from streams.keeper import Keeper
from streams.stage import Output, Stage

SOURCE = "retrace/streams"
CONSUMER = "streams"
SETTLE_EVERY_S = 0.2
KEEP_EVERY_S = 5.0
MOST_WAITING = 5_000
STOP_TIMEOUT_S = 10.0

log = structlog.get_logger()


async def work(settings: Settings, health: Health) -> None:
    """Run every stage until cancelled.

    Raises:
        Conflict: another worker uses the same folder.
        Unavailable: Kafka or the registry went away; starting again continues where the kept state ends.
    """
    health.failed("assignment", "starting")
    stages = discover(streams.stages, Stage)
    keeper = Keeper(settings.data_dir / "streams" / (settings.topic_prefix or "default"), stages, settings.tenant)
    decoder = await open_decoder(settings)
    with keeper.owned():
        fold = keeper.open()
        async with (
            FactWriter(settings, decoder.codec, linger_ms=5) as writer,
            watched(settings, health, _topics(stages)[0]),
        ):
            await Worker(settings, health, decoder, writer, keeper, fold).run()


class Worker:
    """Moves records from Faust into the fold, and what the fold says to Kafka."""

    def __init__(
        self, settings: Settings, health: Health, decoder: Decoder, writer: FactWriter, keeper: Keeper, fold: Fold
    ) -> None:
        self._settings = settings
        self._health = health
        self._decoder = decoder
        self._writer = writer
        self._letters = DeadLetters(writer)
        self._keeper = keeper
        self._fold = fold
        self._unacknowledged: list[Any] = []
        self._telling = asyncio.Lock()
        self._kept_at = time.monotonic()
        self._fault: BaseException | None = None

    async def run(self) -> None:
        """Run the Faust app in this loop until cancelled.

        Raises:
            Unavailable: the app ended by itself.
        """
        app = self._app()
        try:
            await self._start(app)
            while True:
                await asyncio.sleep(SETTLE_EVERY_S)
                self._check(app)
                await self._tell()
        finally:
            await self._stop(app)

    async def _start(self, app: Any) -> None:
        try:
            await app.start()
        except (KafkaError, OSError) as fault:
            raise Unavailable(f"Kafka at {self._settings.kafka.bootstrap} does not answer: {fault}") from fault

    async def _stop(self, app: Any) -> None:
        """Stop the app; one that waits for brokers that are away is left behind: nothing is lost with it."""
        stopping = asyncio.create_task(app.stop())
        _, late = await asyncio.wait({stopping}, timeout=STOP_TIMEOUT_S)
        if late:
            log.warning("Faust does not stop", after_s=STOP_TIMEOUT_S)

    def _app(self) -> Any:
        topics = [physical(self._settings, name) for name in _topics(self._fold.stages)]
        app = faust_app(self._settings, f"{CONSUMER}.{self._keeper.name}", self._keeper)
        source = app.topic(*topics, key_serializer="raw", value_serializer="raw")

        async def agent(stream: Any) -> None:
            await self._follow(stream.noack().events())

        app.agent(source, name="fold", concurrency=1)(agent)
        return app

    async def _follow(self, events: AsyncIterator[Any]) -> None:
        """Take every record; a fault is left for `run`: Faust would log it, acknowledge the record and go on."""
        try:
            async for event in events:
                await self._take(event)
        except Exception as fault:
            self._fault = fault
            await asyncio.Event().wait()

    async def _take(self, event: Any) -> None:
        raw = _raw(event.message, self._settings)
        if self._fold.expects(raw.position):
            self._fold.take(raw.position, await self._decoded(raw))
        self._unacknowledged.append(event)
        if len(self._fold.waiting) >= MOST_WAITING or len(self._unacknowledged) >= 4 * MOST_WAITING:
            await self._tell()

    async def _decoded(self, raw: Raw) -> Recorded | None:
        if raw.tenant != self._settings.tenant:
            return None
        try:
            await self._decoder.learn([raw])
            return self._decoder.decode(raw)
        except Incompatible as fault:
            await self._letters.write(CONSUMER, raw, fault)
            return None

    async def _tell(self) -> None:
        """Append what the stages have to say; now and then keep the state and acknowledge what it includes."""
        async with self._telling:
            said = self._fold.drain()
            due = bool(self._unacknowledged) and time.monotonic() - self._kept_at >= KEEP_EVERY_S
            included = self._unacknowledged if due else []
            content = self._keeper.encode(self._fold) if due else b""
            if due:
                self._unacknowledged = []
            await self._writer.append_all([self._fact(stage, output) for stage, output in said])
            if due:
                await asyncio.to_thread(self._keeper.write, content)
                self._acknowledge(included)
                self._kept_at = time.monotonic()

    def _acknowledge(self, events: Sequence[Any]) -> None:
        for event in events:
            event.ack()

    def _fact(self, stage: str, output: Output) -> tuple[Any, Meta]:
        return output.event, self._meta(output.event, output.subject, output.id, stage)

    def _meta(self, event: Any, subject: str, id: UUID, stage: str | None = None) -> Meta:
        return Meta(
            id=id,
            type=event.AVRO,
            source=f"{SOURCE}/{stage}" if stage else SOURCE,
            subject=subject,
            time=datetime.now(UTC),
            actor=CONSUMER,
            tenant=self._settings.tenant,
        )

    def _check(self, app: Any) -> None:
        """Say how it goes.

        Raises:
            Unavailable: the app has ended by itself, or left records out.
        """
        if self._fault is not None:
            raise self._fault
        if app.should_stop:
            raise Unavailable(f"Faust ended: {app.crash_reason!r}; start again")
        lag = self._lag(app)
        for (topic, partition), events in lag.items():
            LAG.labels(CONSUMER, topic, partition).set(events)
        missing = self._missing(app, set(lag))
        if missing:
            self._health.failed("assignment", f"partitions without this worker: {missing}")
        else:
            self._health.ok("assignment", f"{len(lag)} partitions, {sum(lag.values())} events behind")

    def _lag(self, app: Any) -> dict[tuple[str, int], int]:
        """Records not folded yet, by topic and assigned partition."""
        lag: dict[tuple[str, int], int] = {}
        for assigned in app.consumer.assignment() if app.started else ():
            partition = (logical(self._settings, assigned.topic), assigned.partition)
            end = app.consumer.highwater(assigned) or 0
            lag[partition] = max(0, end - self._fold.next.get(partition, 0))
        return lag

    def _missing(self, app: Any, assigned: set[tuple[str, int]]) -> list[str]:
        if not assigned:
            return ["all"]
        wanted = {
            (name, partition)
            for name in _topics(self._fold.stages)
            for partition in range(app.consumer.topic_partitions(physical(self._settings, name)) or 0)
        }
        return sorted(f"{name}/{partition}" for name, partition in wanted - assigned)


def faust_app(settings: Settings, name: str, keeper: Keeper) -> Any:
    """A Faust app that owns nothing: no web server, no tables, no topics, no loop, no signals."""
    # With the brokers away the consumer's thread can end without saying so, and stopping would wait for a minute.
    AIOKafkaConsumerThread.shutdown_timeout = STOP_TIMEOUT_S / 2
    return faust.App(
        group_id(settings, name),
        broker=";".join(f"aiokafka://{host.strip()}" for host in settings.kafka.bootstrap.split(",")),
        broker_credentials=credentials(settings.kafka),
        broker_heartbeat_interval=3,
        broker_session_timeout=10,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=name,  # after a crash the next process takes over at once
        datadir=str(keeper.folder / "faust"),
        store="memory://",
        web_enabled=False,
        autodiscover=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        topic_partitions=settings.kafka.partitions,
        stream_wait_empty=False,
    )


def credentials(kafka: KafkaSettings) -> Any:
    """How Faust signs in; None where nobody asks."""
    context = None
    if kafka.security_protocol in ("SSL", "SASL_SSL"):
        context = ssl.create_default_context(cafile=kafka.ca_file)
    if kafka.sasl_mechanism:
        password = kafka.sasl_password.get_secret_value() if kafka.sasl_password else None
        return faust.SASLCredentials(
            username=kafka.sasl_username, password=password, mechanism=kafka.sasl_mechanism, ssl_context=context
        )
    return faust.SSLCredentials(context) if context else None


def _topics(stages: Mapping[str, Stage[Any]]) -> list[str]:
    """Names of the topics that hold what the stages read."""
    names = {contracts()[event.AVRO].topic for stage in stages.values() for event in stage.reads}
    return sorted(name for name in names if name is not None)


def _raw(message: Any, settings: Settings) -> Raw:
    return Raw(
        TOPICS[logical(settings, message.topic)],
        message.partition,
        message.offset,
        (message.key or b"").decode(errors="replace"),
        message.value,
        message.headers or (),
        int(message.timestamp * 1000),
    )
