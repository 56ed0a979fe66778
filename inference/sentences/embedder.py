"""The role `embedder`: gives every item of the catalogue a vector, as an event on the log.

It keeps nothing: at each start the log says which texts there are and which of them have a vector. A text is done when
its `ItemEmbedded` is durable, and that event's id follows from the event that brought the text: saying it twice, after
a crash or by two workers at once, is recognised as a repeat.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TypeAlias
from uuid import UUID

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from prometheus_client import Counter, Gauge

from inference.sentences.repository import SentenceModel, publish, sentence_model
from inference.sentences.vectors import Job, Vectors
from infra.health import Health
from infra.kafka.consumer import open_consumer
from infra.kafka.deadletters import DeadLetters
from infra.kafka.facts import FactWriter
from infra.kafka.past import recall
from infra.kafka.records import Decoder, Raw, from_aiokafka
from infra.kafka.topics import physical
from infra.kafka.watch import watched
from infra.registry.enlist import open_decoder
from infra.sentences import Sentences
from infra.settings import Settings
from schemas.embeddings import ItemEmbedded
from schemas.envelope import Meta
from schemas.errors import Incompatible, Problem, TimedOut, Unavailable
from schemas.identity import derived

ACTOR = "embedder"
TOPICS = ("catalog", "embeddings")
POLL_MS = 1000
RETRY_S = 1.0
AT_ONCE = 8
"""Texts in one request: about 40 ms of work, which is how long a query may have to wait behind it."""
TIMEOUT_S = 30.0

EMBEDDED = Counter("retrace_embedder_items_total", "Items that were given a vector.")
WAITING = Gauge("retrace_embedder_waiting_items", "Items whose text has no vector yet.")

Ends: TypeAlias = dict[TopicPartition, int]

log = structlog.get_logger()


async def work(settings: Settings, health: Health) -> None:
    """Give items their vectors until cancelled; what is away is waited for.

    Raises:
        Unavailable: there is no sentence model.
    """
    model = await asyncio.to_thread(sentence_model, settings)
    health.failed("log", "not asked yet")
    async with Sentences(settings.triton.grpc) as sentences:
        while True:
            try:
                await _follow(settings, health, model, sentences)
            except (Unavailable, TimedOut) as fault:
                log.warning("waiting", cause=fault.detail)
                health.failed("log", fault.detail)
            await asyncio.sleep(RETRY_S)


async def _follow(settings: Settings, health: Health, model: SentenceModel, sentences: Sentences) -> None:
    decoder = await open_decoder(settings)
    async with (
        FactWriter(settings, decoder.codec, linger_ms=5) as writer,
        _consumer(settings) as (consumer, ends),
        watched(settings, health, TOPICS[0]),
    ):
        await Embedder(settings, health, model, sentences, decoder, writer).run(consumer, ends)


class Embedder:
    """One pass over the log, from its first record on.

    Args:
        sentences: the Triton servers.
        writer: started.
    """

    def __init__(
        self,
        settings: Settings,
        health: Health,
        model: SentenceModel,
        sentences: Sentences,
        decoder: Decoder,
        writer: FactWriter,
    ) -> None:
        self._settings = settings
        self._health = health
        self._model = model
        self._sentences = sentences
        self._decoder = decoder
        self._writer = writer
        self._letters = DeadLetters(writer)
        self._vectors = Vectors(model.sha256)

    async def run(self, consumer: AIOKafkaConsumer, ends: Ends) -> None:
        """Hear everything that is there, then embed what needs it, as long as nothing goes away.

        Raises:
            Unavailable: Kafka or the registry is away.
        """
        await recall(self._settings, consumer, dict.fromkeys(ends, 0), lambda _, raws: self._take_all(raws))
        while True:
            await self._hear(consumer, wait_ms=0 if self._vectors and not ends else POLL_MS)
            ends = {p: end for p, end in ends.items() if await _position(consumer, p) < end}
            if not ends:
                self._health.ok("log")
                await self._write(await self._asked(self._vectors.due(AT_ONCE)))
            WAITING.set(len(self._vectors))

    async def _hear(self, consumer: AIOKafkaConsumer, *, wait_ms: int) -> None:
        fetched = await consumer.getmany(timeout_ms=wait_ms)
        prefix = self._settings.topic_prefix
        await self._take_all([from_aiokafka(r, prefix) for records in fetched.values() for r in records])

    async def _take_all(self, raws: Sequence[Raw]) -> None:
        for raw in raws:
            if raw.tenant == self._settings.tenant:
                await self._take(raw)

    async def _take(self, raw: Raw) -> None:
        """Fold a record; one that cannot be read has become a dead letter."""
        try:
            await self._decoder.learn([raw])
            recorded = self._decoder.decode(raw)
        except Incompatible as fault:
            await self._letters.write(ACTOR, raw, fault)
            return
        if recorded is not None:
            self._vectors.hear(recorded.event, recorded.meta)

    async def _asked(self, jobs: Sequence[Job]) -> list[tuple[Job, list[float]]]:
        """A vector for each; none when Triton cannot, which is said, and they come again."""
        try:
            await self._bring()
            texts, name = [job.text for job in jobs], self._model.served_as
            vectors = await self._sentences.vectors(name, texts, TIMEOUT_S) if jobs else []
            self._health.ok("triton")
        except Problem as fault:
            log.warning("no vectors", cause=fault.detail)
            self._health.failed("triton", fault.detail)
            await asyncio.sleep(RETRY_S)
            return []
        return list(zip(jobs, vectors, strict=True))

    async def _bring(self) -> None:
        """Load the model on every server that has not got it, one that was started anew for example."""
        name = self._model.served_as
        for server in self._sentences.servers:
            if not await server.ready(name):
                root, instances = self._settings.model_repository, self._settings.search.instances
                await asyncio.to_thread(publish, root, self._model, instances=instances)
                await server.load(name)
                log.info("sentence model loaded", name=name, server=server.address)

    async def _write(self, embedded: Sequence[tuple[Job, Sequence[float]]]) -> None:
        facts = [self._fact(job, vector) for job, vector in embedded]
        await self._writer.append_all(facts)
        for event, meta in facts:
            self._vectors.hear(event, meta)
        EMBEDDED.inc(len(facts))

    def _fact(self, job: Job, vector: Sequence[float]) -> tuple[ItemEmbedded, Meta]:
        event = ItemEmbedded(
            item_id=job.item_id,
            model=self._model.name,
            model_sha256=self._model.sha256,
            text_sha256=job.text_sha256,
            vector=tuple(vector),
        )
        meta = Meta(
            id=UUID(derived(job.cause.id, self._model.sha256)),
            type=event.AVRO,
            source=f"retrace/{ACTOR}",
            subject=job.item_id,
            time=datetime.now(UTC),
            actor=ACTOR,
            tenant=self._settings.tenant,
            correlation_id=job.cause.correlation_id,
            causation_id=str(job.cause.id),
        )
        return event, meta


@asynccontextmanager
async def _consumer(settings: Settings) -> AsyncIterator[tuple[AIOKafkaConsumer, Ends]]:
    """A consumer at the beginning of the topics, and where they end now."""
    partitions = [
        TopicPartition(physical(settings, topic), p) for topic in TOPICS for p in range(settings.kafka.partitions)
    ]
    async with open_consumer(settings, auto_offset_reset="earliest", fetch_max_wait_ms=POLL_MS) as consumer:
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        yield consumer, await consumer.end_offsets(partitions)


async def _position(consumer: AIOKafkaConsumer, partition: TopicPartition) -> int:
    position: int = await consumer.position(partition)
    return position
