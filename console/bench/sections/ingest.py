"""Facts in bulk: from one upload, in each of the formats, to events that are durable in Kafka."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from console.api import Api
from console.bench import synthetic
from console.bench.bench import Bench, Measure, Section
from console.bench.figure import OURS, Figure, Sample, at_least, peers_of, runs_of
from console.bench.peers import plain
from console.bench.people import add_items
from infra.kafka.connect import aiokafka_options
from infra.settings import Settings
from schemas.codec import as_fields
from schemas.errors import Problem
from schemas.interactions import InteractionRecorded

NAME = "ingest"
CSV, AVRO = "CSV", "Avro"
PEER_TOPIC = "bench.plain.interactions"
PEER_SCHEMA_ID = 1


async def run(bench: Bench) -> list[Figure]:
    """Let everybody bring the same events to rest."""
    events = list(synthetic.interactions(bench.sizes.ingest))
    few = events[: bench.sizes.few]
    async with Api(bench.settings, actor="bench") as api:
        await add_items(api, synthetic.item_ids())
        participants: dict[str, Measure] = {
            OURS: partial(ours, api, "application/x-ndjson", synthetic.ndjson(events), len(events)),
            CSV: partial(ours, api, "text/csv", synthetic.csv(events), len(events)),
            AVRO: partial(ours, api, "application/avro", synthetic.avro(events), len(events)),
            "plain aiokafka": partial(plainly, bench.settings, [as_fields(event) for event in events]),
        }
        if bench.has_eventsourcing:
            participants["eventsourcing"] = partial(eventsourcing, bench.settings, few)
        samples = await bench.alternate(NAME, participants)
    peers = {who: runs for who, runs in peers_of(samples, "events/s").items() if who not in (CSV, AVRO)}
    return [
        _figure("bulk upload, NDJSON", runs_of(samples, OURS, "events/s"), peers),
        *(_figure(f"bulk upload, {name}", runs_of(samples, name, "events/s"), {}) for name in (CSV, AVRO)),
    ]


def _figure(name: str, runs: Sequence[float], peers: Mapping[str, Sequence[float]]) -> Figure:
    return Figure(
        section=NAME, name=name, unit="events/s", better="higher", runs=runs, asked=at_least(40_000), peers=peers
    )


async def ours(api: Api, kind: str, chunks: Sequence[bytes], count: int) -> Sample:
    """One upload over HTTP; the answer comes when the last event is durable.

    Raises:
        Problem: events were refused.
    """

    async def body() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    began = time.perf_counter()
    answer = await api.call(
        api.settings.commands.url,
        "POST",
        "/interactions/bulk",
        data=body(),
        headers={"content-type": kind},
        timeout=None,
    )
    elapsed_s = time.perf_counter() - began
    if answer.body["accepted"] != count:
        raise Problem(f"{count} events were sent and {answer.body['accepted']} accepted: {answer.body}"[:500])
    return {"events/s": count / elapsed_s}


async def plainly(settings: Settings, events: Sequence[dict[str, object]]) -> Sample:
    """The same events from this process straight to Kafka."""
    admin = AIOKafkaAdminClient(**aiokafka_options(settings.kafka))
    await admin.start()
    try:
        if PEER_TOPIC not in await admin.list_topics():
            await admin.create_topics([NewTopic(PEER_TOPIC, settings.kafka.partitions, settings.kafka.replication)])
    finally:
        await admin.close()
    return {"events/s": await plain.produce(settings, PEER_TOPIC, PEER_SCHEMA_ID, events)}


async def eventsourcing(settings: Settings, events: Sequence[InteractionRecorded]) -> Sample:
    """Some of the events from this process straight to PostgreSQL."""
    from console.bench.peers import eventsourcing as library

    def measured() -> float:
        with library.schema(settings, NAME) as environment:
            return library.ingest(environment, events)

    return {"events/s": await asyncio.to_thread(measured)}


SECTION = Section(NAME, 2, ("kafka", "postgres", "registry", "processor", "commands"), run)
