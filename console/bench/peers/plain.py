"""aiokafka, fastavro, psycopg and pyarrow, put together by hand: what most teams would write.

The producer is idempotent and waits for all replicas; offsets are kept in Postgres in the same transaction as the
rows, so that a crash neither loses nor doubles a count. There is no validation, no registry look-up, no upcasting, no
recognition of repeats and no health report.
"""

import asyncio
import io
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import fastavro
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from infra.kafka.connect import aiokafka_options
from infra.kafka.topics import physical
from infra.settings import Settings
from schemas.contracts import contracts
from schemas.interactions import InteractionRecorded

FRAME = struct.Struct(">bI")
SCHEMA = fastavro.parse_schema(dict(contracts()[InteractionRecorded.AVRO].schema), named_schemas={})
IN_FLIGHT = 5_000
POLL_RECORDS = 5_000

HISTORY = """INSERT INTO history (user_id, item_id, kind, value, occurred_at, partition, "offset")
             VALUES (%s, %s, %s, %s, %s, %s, %s)"""
POPULARITY = """INSERT INTO popularity AS old (item_id, interactions) VALUES (%s, %s)
                ON CONFLICT (item_id) DO UPDATE SET interactions = old.interactions + excluded.interactions"""
OFFSETS = """INSERT INTO offsets (partition, next_offset) VALUES (%s, %s)
             ON CONFLICT (partition) DO UPDATE SET next_offset = excluded.next_offset"""

ARROW = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("kind", pa.string()),
        ("value", pa.float64()),
        ("occurred_at", pa.timestamp("us", tz="UTC")),
        ("decision_id", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
    ]
)


async def produce(settings: Settings, topic: str, schema_id: int, events: Sequence[Mapping[str, Any]]) -> float:
    """Append the events; events per second until the last one is durable."""
    producer = AIOKafkaProducer(
        **aiokafka_options(settings.kafka),
        acks="all",
        enable_idempotence=True,
        linger_ms=5,
        max_batch_size=256 * 1024,
        compression_type="lz4",
    )
    await producer.start()
    try:
        began = time.perf_counter()
        for start in range(0, len(events), IN_FLIGHT):
            sent = [await _send(producer, topic, schema_id, event) for event in events[start : start + IN_FLIGHT]]
            await asyncio.gather(*sent)
        return len(events) / (time.perf_counter() - began)
    finally:
        await producer.stop()


async def _send(producer: AIOKafkaProducer, topic: str, schema_id: int, event: Mapping[str, Any]) -> Any:
    buffer = io.BytesIO()
    buffer.write(FRAME.pack(0, schema_id))
    fastavro.schemaless_writer(buffer, SCHEMA, event)
    headers = [("ce_id", str(uuid4()).encode()), ("ce_type", InteractionRecorded.AVRO.encode())]
    return await producer.send(topic, buffer.getvalue(), key=event["user_id"].encode(), headers=headers)


def decoded(record: Any) -> dict[str, Any]:
    """The fields of a record."""
    buffer = io.BytesIO(record.value)
    buffer.seek(FRAME.size)
    fields: dict[str, Any] = fastavro.schemaless_reader(buffer, SCHEMA, None)  # type: ignore[assignment]
    return fields


async def project_each(settings: Settings, connection: psycopg.AsyncConnection[Any], count: int) -> float:
    """Write a row, a count and the offset for each event and commit; events per second."""
    async with _consumer(settings) as consumer:
        began, done = 0.0, 0
        async for record in consumer:
            began = began or time.perf_counter()
            fields = decoded(record)
            async with connection.transaction():
                await connection.execute(HISTORY, row(record, fields))
                await connection.execute(POPULARITY, (fields["item_id"], 1))
                await connection.execute(OFFSETS, (record.partition, record.offset + 1))
            done += 1
            if done == count:
                break
        return count / (time.perf_counter() - began)


async def project_polls(settings: Settings, connection: psycopg.AsyncConnection[Any], count: int) -> float:
    """Write what a poll brought in one transaction; events per second."""
    async with _consumer(settings) as consumer:
        began, done = 0.0, 0
        while done < count:
            polled = await consumer.getmany(timeout_ms=500, max_records=POLL_RECORDS)
            began = began or (time.perf_counter() if polled else 0.0)
            rows = [row(record, decoded(record)) for records in polled.values() for record in records]
            if not rows:
                continue
            offsets = [(records[-1].partition, records[-1].offset + 1) for records in polled.values()]
            async with connection.transaction(), connection.cursor() as cursor:
                await cursor.executemany(HISTORY, rows)
                await cursor.executemany(POPULARITY, sorted(Counter(values[1] for values in rows).items()))
                await cursor.executemany(OFFSETS, offsets)
            done += len(rows)
        return done / (time.perf_counter() - began)


async def to_parquet(settings: Settings, count: int, file: Path) -> float:
    """Decode record by record and write Parquet; events per second."""
    with pq.ParquetWriter(file, ARROW) as writer:
        return await to_arrow(settings, count, writer.write_table)


async def to_arrow(settings: Settings, count: int, take: Callable[[pa.Table], object]) -> float:
    """Decode record by record and hand on Arrow tables; events per second."""
    async with _consumer(settings) as consumer:
        began, done = 0.0, 0
        while done < count:
            polled = await consumer.getmany(timeout_ms=500, max_records=POLL_RECORDS)
            began = began or (time.perf_counter() if polled else 0.0)
            rows = [
                decoded(record) | {"partition": record.partition, "offset": record.offset}
                for records in polled.values()
                for record in records
            ]
            if rows:
                take(pa.Table.from_pylist(rows, schema=ARROW))
            done += len(rows)
        return done / (time.perf_counter() - began)


def row(record: Any, fields: Mapping[str, Any]) -> tuple[Any, ...]:
    """A row of the history."""
    return (
        fields["user_id"],
        fields["item_id"],
        fields["kind"],
        fields["value"],
        fields["occurred_at"],
        record.partition,
        record.offset,
    )


@asynccontextmanager
async def _consumer(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    """At the start of the log of interactions."""
    consumer = AIOKafkaConsumer(
        **aiokafka_options(settings.kafka),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    await consumer.start()
    try:
        topic = physical(settings, "interactions")
        consumer.assign([TopicPartition(topic, number) for number in range(settings.kafka.partitions)])
        await consumer.seek_to_beginning()
        yield consumer
    finally:
        await consumer.stop()
