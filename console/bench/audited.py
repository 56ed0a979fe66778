"""A long log with people who met much, and decisions about them: what an explanation has to find its way in."""

import asyncio
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice

from confluent_kafka import Producer
from uuid6 import uuid7

from console.bench import synthetic
from console.bench.log import TOPIC, filled_catalogue, meta_of
from inference.explaining.explain import Explainer
from inference.interactions import Interactions
from inference.models import ease
from inference.store import ArtifactStore
from infra.kafka.connect import librdkafka_options
from infra.kafka.facts import FactWriter
from infra.kafka.partitioner import partition_of
from infra.kafka.ranges import ranges_now
from infra.kafka.records import Decoder
from infra.kafka.topics import physical
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.decisions import AsOf, RecommendationServed, ScoredItem
from schemas.envelope import Meta
from schemas.errors import Problem
from schemas.interactions import InteractionRecorded
from schemas.models import OffsetRange
from schemas.position import Position

PEOPLE = 8
EACH = 1_000
"""Interactions of each of them, spread evenly over the log, every one with another item."""

STRIDE = 3
"""They met every third item, each from another place on: what follows for one is still new to another."""

ITEMS = 3_706
"""As many as MovieLens-1M has."""

BATCH_BYTES = 256 * 1024
"""Largest record batch: that of our own services."""

AT_ONCE = 100_000
SEEN_IN = (
    ("user_history", TOPIC),
    ("popularity", TOPIC),
    ("catalogue", "catalog"),
    ("user_profile", "profiles"),
    ("co_occurrence", TOPIC),
    ("co_occurrence", "profiles"),
)
SOURCES = ("model", "popular", "co_occurrence")


@dataclass(frozen=True)
class Decided:
    """A decision on record."""

    decision_id: str
    source: str


def person(number: int) -> str:
    """One of those who met much."""
    return f"bench-reader-{number}"


def interactions(count: int, *, seed: int = 7) -> Iterator[InteractionRecorded]:
    """So many interactions, the people's among them at even distances."""
    chance = random.Random(seed)
    users, items = synthetic.user_ids(), synthetic.item_ids(ITEMS)
    every = max(1, count // (PEOPLE * EACH))
    for number in range(count):
        turn, rest = divmod(number, every)
        mine = rest == 0 and turn < PEOPLE * EACH
        yield InteractionRecorded(
            user_id=person(turn % PEOPLE) if mine else users[int(chance.random() * len(users))],
            item_id=items[_item(turn)] if mine else items[int(chance.random() ** 3 * ITEMS)],
            kind="view",
            occurred_at=synthetic.BEGIN + timedelta(seconds=number),
        )


def _item(turn: int) -> int:
    """Which item one of the people meets when it is their turn."""
    number, who = divmod(turn, PEOPLE)
    return (number * STRIDE + who * (ITEMS // PEOPLE)) % ITEMS


async def filled(settings: Settings, count: int) -> Decoder:
    """Let the log hold so many interactions and the items they are with; whoever comes first fills it."""
    decoder = await open_decoder(settings)
    await filled_catalogue(settings, ITEMS)
    there = sum(part.end for part in await ranges_now(settings, [TOPIC]))
    options = {"partitioner": "murmur2_random", "linger.ms": 50, "batch.size": BATCH_BYTES, "compression.type": "lz4"}
    producer = Producer({**librdkafka_options(settings.kafka), **options, "queue.buffering.max.messages": 2 * AT_ONCE})
    events = islice(interactions(count), there, None)
    while chunk := list(islice(events, AT_ONCE)):
        await asyncio.to_thread(_produce, producer, physical(settings, TOPIC), decoder, chunk)
    return decoder


def _produce(producer: Producer, topic: str, decoder: Decoder, events: Sequence[InteractionRecorded]) -> None:
    headers: dict[str, str | bytes | None] = dict(meta_of(events[0]).headers())
    for event in events:
        said = headers | {"ce_id": str(uuid7()).encode(), "ce_subject": event.user_id.encode()}
        producer.produce(topic, decoder.codec.encode(event), event.user_id.encode(), headers=said)
        producer.poll(0)
    producer.flush()


async def decided(settings: Settings, decoder: Decoder) -> list[Decided]:
    """Put decisions on record as serving would have made them at the end of the log, so many of each source.

    Raises:
        Problem: one that was recorded is not made again.
    """
    artifact = await asyncio.to_thread(_artifact, settings)
    ends = await ranges_now(settings, [TOPIC, "catalog", "profiles"])
    explainer = Explainer(settings, decoder)
    found: list[Decided] = []
    async with FactWriter(settings, decoder.codec) as writer:
        for number in range(PEOPLE):
            for source in SOURCES:
                draft = _draft(person(number), source, artifact, ends)
                told = await explainer.again(draft, Position("decisions", 0, 0))
                remade = told.remade
                if remade is None:
                    raise Problem(f"a decision cannot be made: {told.differences[0]}")
                served = replace(
                    draft,
                    history_length=remade.history_length,
                    history_sha256=remade.history_sha256,
                    candidates=remade.candidates,
                    items=tuple(ScoredItem(item_id=item, score=score) for item, score in remade.items),
                )
                await writer.append(served, _meta(served))
                found.append(Decided(served.decision_id, source))
    return found


def _artifact(settings: Settings) -> str:
    """A model of as many items as the catalogue has."""
    events = list(islice(interactions(40_000), 40_000))
    times = [int(event.occurred_at.timestamp() * 1e6) for event in events]
    data = Interactions.of([e.user_id for e in events], [e.item_id for e in events], [1.0] * len(events), times)
    return ArtifactStore(settings).put(ease.MODEL.train(data, ease.MODEL.configure({}), 100))


def _draft(user_id: str, source: str, artifact: str, ends: Sequence[OffsetRange]) -> RecommendationServed:
    by_model = source == "model"
    return RecommendationServed(
        user_id=user_id,
        decision_id=str(uuid7()),
        model="movies",
        source=source,  # type: ignore[arg-type]
        fallback_reason=None if by_model else "no_model",
        version=1 if by_model else None,
        artifact_sha256=artifact if by_model else None,
        positions=tuple(_seen(user_id, ends)),
        history_length=0,
        history_sha256="",
        candidates=0,
        limit=10,
        items=(),
        served_at=datetime.now(UTC),
        latency_ms=1.0,
        server="bench",
        sequence=1,
    )


def _seen(user_id: str, ends: Sequence[OffsetRange]) -> Iterator[AsOf]:
    counts: Mapping[str, int] = {part.topic: sum(other.topic == part.topic for other in ends) for part in ends}
    for view, topic in SEEN_IN:
        own = view.startswith("user_")
        for part in ends:
            if part.topic == topic and (not own or part.partition == partition_of(user_id, counts[topic])):
                yield AsOf(view=view, topic=topic, partition=part.partition, next_offset=part.end)


def _meta(served: RecommendationServed) -> Meta:
    return Meta(
        id=uuid7(),
        type=served.AVRO,
        source="retrace/bench",
        subject=served.user_id,
        time=served.served_at,
        actor="bench",
        correlation_id=str(uuid7()),
    )
