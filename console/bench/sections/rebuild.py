"""Rebuilding user history beside the live one, while it is written and read: fold, compare, switch."""

import asyncio
import resource
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import TypeAlias

import psutil
import psycopg
from confluent_kafka import Producer
from psycopg.sql import SQL, Identifier
from uuid6 import uuid7

from console.bench import synthetic
from console.bench.bench import Bench, Section
from console.bench.figure import OURS, Figure, Sample, at_least, at_most, runs_of
from console.bench.log import TOPIC, meta_of
from infra.health import Health
from infra.kafka.connect import librdkafka_options
from infra.kafka.facts import FactWriter
from infra.kafka.ranges import ranges_now
from infra.kafka.topics import physical
from infra.postgres import connect
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from projections import rebuild
from projections.runner import run as run_projector
from projections.views import user_history

NAME = "rebuild"
VIEW = user_history.VIEW
KINDS = 100_000
"""Different events; a larger log has them again, under other ids."""

LOOK_EVERY_S = 0.5
READ_EVERY_S = 0.01
REACHED = SQL("SELECT coalesce(sum(next_offset), 0) FROM projection_offsets WHERE view = %s")
Record: TypeAlias = tuple[bytes, bytes, dict[str, str | bytes | None]]

TEN_MILLION_IN_3_MIN = 10_000_000 / 180


async def run(bench: Bench) -> list[Figure]:
    """Fill a log and the live read model; then rebuild that, while a reader asks and a writer writes."""
    settings, total = bench.corner(NAME), bench.sizes.rebuild
    bench.say(f"  a log of {total:,} interactions")
    await filled(settings, total)
    with psycopg.connect(settings.postgres.dsn.get_secret_value(), autocommit=True) as connection:
        connection.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(settings.postgres.db_schema)))
    projector = asyncio.create_task(run_projector(settings, Health(NAME), [VIEW]))
    try:
        bench.say("  the live read model")
        await _caught_up(settings, total)
        samples = await bench.alternate(NAME, {OURS: partial(measured, bench, settings)})
    finally:
        projector.cancel()
        with suppress(asyncio.CancelledError):
            await projector

    def reached(key: str) -> list[float]:
        return runs_of(samples, OURS, key)

    note = (
        f"{total:,} events: fold, comparison of all rows and switch, beside the projector in the same process, "
        f"a query every {READ_EVERY_S * 1000:.0f} ms and 100 events/s written"
    )
    return [
        Figure(
            section=NAME,
            name="user history rebuilt",
            unit="events/s",
            better="higher",
            note=note,
            runs=reached("events/s"),
            asked=at_least(TEN_MILLION_IN_3_MIN),
        ),
        Figure(
            section=NAME,
            name="queries that failed meanwhile",
            unit="queries",
            better="lower",
            runs=reached("failed"),
            asked=at_most(0),
        ),
        Figure(section=NAME, name="longest query meanwhile", unit="ms", better="lower", runs=reached("longest ms")),
        Figure(
            section=NAME,
            name="CPU of PostgreSQL, per million events",
            unit="s",
            better="lower",
            runs=reached("postgres CPU s"),
        ),
        Figure(
            section=NAME,
            name="CPU of the process, per million events",
            unit="s",
            better="lower",
            runs=reached("own CPU s"),
        ),
        Figure(section=NAME, name="largest memory of the process", unit="MB", better="lower", runs=reached("MB")),
    ]


async def measured(bench: Bench, settings: Settings) -> Sample:
    """Rebuild once; what the run before has kept is removed when this one has switched."""
    stop = asyncio.Event()
    reading, writing = asyncio.create_task(_read(settings, stop)), asyncio.create_task(_write(settings, stop))
    postgres, own, began = _cpu_s(bench.stack.server("postgres").pid), time.process_time(), time.perf_counter()
    attempt = await rebuild.rebuild(settings, VIEW)
    took = time.perf_counter() - began
    stop.set()
    waits, failed = await reading
    await writing
    comparison = attempt.comparison
    if comparison is None or not comparison.equal:
        raise AssertionError(f"the rebuild of {VIEW.name} differs from the live one: {comparison}")
    millions = attempt.folded / 1_000_000
    return {
        "events/s": attempt.folded / took,
        "seconds": took,
        "failed": failed,
        "longest ms": max(waits) * 1000,
        "postgres CPU s": (_cpu_s(bench.stack.server("postgres").pid) - postgres) / millions,
        "own CPU s": (time.process_time() - own) / millions,
        "MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


async def filled(settings: Settings, count: int) -> None:
    """Let the topic `interactions` hold so many events; librdkafka, since they are many."""
    decoder = await open_decoder(settings)
    there = sum(part.end for part in await ranges_now(settings, [TOPIC]))
    options = {"partitioner": "murmur2_random", "linger.ms": 50, "batch.size": 1_000_000, "compression.type": "lz4"}
    producer = Producer({**librdkafka_options(settings.kafka), **options, "queue.buffering.max.messages": 2 * KINDS})
    events = list(synthetic.interactions(min(count, KINDS)))
    ready = [(event.user_id.encode(), decoder.codec.encode(event), meta_of(event).headers()) for event in events]
    records = islice(_again(ready), there, count)
    while chunk := list(islice(records, KINDS)):  # in pieces, so that Ctrl-C does not wait for all
        await asyncio.to_thread(_produce, producer, physical(settings, TOPIC), chunk)


def _again(ready: Sequence[tuple[bytes, bytes, Sequence[tuple[str, bytes]]]]) -> Iterator[Record]:
    while True:
        for key, value, headers in ready:
            yield key, value, {**dict(headers), "ce_id": str(uuid7()).encode()}


def _produce(producer: Producer, topic: str, records: Iterable[Record]) -> None:
    for key, value, headers in records:
        producer.produce(topic, value, key, headers=headers)
        producer.poll(0)
    producer.flush()


async def _caught_up(settings: Settings, total: int) -> None:
    async with await connect(settings, "bench") as connection:
        while True:
            with suppress(psycopg.errors.UndefinedTable):
                row = await (await connection.execute(REACHED, [VIEW.name])).fetchone()
                if row is not None and next(iter(row.values())) >= total:
                    return
            await asyncio.sleep(LOOK_EVERY_S)


async def _read(settings: Settings, stop: asyncio.Event) -> tuple[list[float], int]:
    """How long each query took, in seconds, and how many failed."""
    waits, failed = [0.0], 0
    query = SQL("SELECT item_id FROM user_history WHERE user_id = %s ORDER BY occurred_at DESC LIMIT 50")
    users = synthetic.user_ids()
    async with await connect(settings, "bench reader") as connection:
        while not stop.is_set():
            began = time.perf_counter()
            try:
                await (await connection.execute(query, [users[len(waits) % len(users)]])).fetchall()
            except psycopg.Error:
                failed += 1
            waits.append(time.perf_counter() - began)
            await asyncio.sleep(READ_EVERY_S)
    return waits, failed


async def _write(settings: Settings, stop: asyncio.Event) -> None:
    decoder = await open_decoder(settings)
    events = synthetic.interactions(10_000_000, seed=int(datetime.now(UTC).timestamp()))
    async with FactWriter(settings, decoder.codec) as writer:
        while not stop.is_set():
            await writer.append_all([(event, meta_of(event)) for event in islice(events, 10)])
            await asyncio.sleep(0.1)


def _cpu_s(pid: int | None) -> float:
    """CPU time of a server with all processes that it has started."""
    server = psutil.Process(pid)
    own = server.cpu_times()
    seconds = own.user + own.system + own.children_user + own.children_system
    for child in server.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            times = child.cpu_times()
            seconds += times.user + times.system
    return float(seconds)


SECTION = Section(NAME, 4, ("kafka", "postgres", "registry"), run)
