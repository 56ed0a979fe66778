"""A Faust agent that takes events in batches and writes each batch as one transaction.

At least once, as Faust is: the offsets are Faust's own, in Kafka, committed in the background.
"""

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import uuid4

import faust
import psycopg

from console.bench.peers.plain import HISTORY, POPULARITY, decoded, row
from infra.kafka.topics import physical
from infra.settings import Settings

BATCH = 1_000
WITHIN_S = 0.2


async def project(settings: Settings, connection: psycopg.AsyncConnection[Any], count: int, folder: Path) -> float:
    """Write the first events of the log, at least so many; events per second from the first batch on.

    Args:
        folder: where Faust may keep what it likes.
    """
    app, times, finished = _app(settings, folder), [], asyncio.Event()
    source = app.topic(physical(settings, "interactions"), key_serializer="raw", value_serializer="raw")
    done = 0

    async def agent(stream: Any) -> None:
        nonlocal done
        async for batch in stream.take_events(BATCH, within=WITHIN_S):
            times.append((time.perf_counter(), done))
            rows = [row(event.message, decoded(event.message)) for event in batch]
            async with connection.transaction(), connection.cursor() as cursor:
                await cursor.executemany(HISTORY, rows)
                await cursor.executemany(POPULARITY, sorted(Counter(values[1] for values in rows).items()))
            done += len(rows)
            if done >= count:
                finished.set()

    app.agent(source, name="history", concurrency=1)(agent)
    await app.start()
    try:
        await finished.wait()
        return done / (time.perf_counter() - times[0][0])
    finally:
        await app.stop()


def _app(settings: Settings, folder: Path) -> Any:
    return faust.App(
        f"bench-{uuid4().hex}",
        broker=";".join(f"aiokafka://{host.strip()}" for host in settings.kafka.bootstrap.split(",")),
        consumer_auto_offset_reset="earliest",
        datadir=str(folder),
        store="memory://",
        web_enabled=False,
        autodiscover=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        topic_partitions=settings.kafka.partitions,
        stream_wait_empty=False,
    )
