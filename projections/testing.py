"""Saying what a read model shows: given these events, then those rows, or those documents.

A view's statement runs on a real PostgreSQL, in one batch and event by event; both have to come to the same rows. An
index's function is pure and needs no server.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from uuid6 import uuid7

from infra.kafka import frame
from infra.kafka.records import Decoder, Raw
from projections import few
from projections.batch import Batch
from projections.many import held
from projections.table import Table
from projections.view import Drop, Index, Put, View
from schemas.codec import Codec
from schemas.contracts import contracts
from schemas.envelope import NAMES, Meta, Recorded
from schemas.position import Position
from schemas.testing import difference
from schemas.topics import TOPICS

CODEC = Codec({name: number for number, name in enumerate(contracts(), start=1)})
"""Encodes as if every contract had been registered."""

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def minute(number: float) -> datetime:
    """So many minutes after noon."""
    return NOON + timedelta(minutes=number)


class Log:
    """Gives events their places: one partition per topic unless told otherwise, one command for each."""

    def __init__(self) -> None:
        self._next: dict[tuple[str, int], int] = {}

    def add(
        self,
        event: Any,
        *,
        topic: str | None = None,
        partition: int = 0,
        key: str | None = None,
        id: UUID | None = None,
        causation_id: str = "",
        command_offset: int | None = None,
    ) -> Recorded:
        """The event at the next offset of its partition, a minute after the one before."""
        contract = contracts()[event.AVRO]
        topic = topic or contract.topic or "profiles"
        offset = self._next.get((topic, partition), 0)
        self._next[topic, partition] = offset + 1
        meta = Meta(
            id=id or uuid7(),
            type=event.AVRO,
            source="test",
            subject=key or str(getattr(event, contract.key or "", "key")),
            time=minute(offset),
            actor="ana",
            causation_id=causation_id,
            command_offset=offset if command_offset is None else command_offset,
        )
        return Recorded(event, meta, Position(topic, partition, offset))

    def of(self, *events: Any, **options: Any) -> list[Recorded]:
        """Several events, one after another."""
        return [self.add(event, **options) for event in events]


async def fold(connection: AsyncConnection[Any], table: Table, batches: Iterable[Sequence[Recorded]]) -> None:
    """Bring batches into a table, each in its transaction; each has events of one topic."""
    for events in batches:
        if events:
            async with connection.transaction():
                await table.fold(connection, batch_of(events))


async def published(connection: AsyncConnection[Any], table: Table) -> list[dict[str, Any]]:
    """What the view's readers would see, were it shown."""
    rows = await connection.execute(table.statement(table.view.published))
    return sorted(await rows.fetchall(), key=repr)


async def given(connection: AsyncConnection[Any], schema: str, view: View, *events: Recorded) -> list[dict[str, Any]]:
    """Fold a history in one batch and, beside it, event by event; both must say the same. Answers what readers see."""
    whole, single = Table(view, schema), Table(view, schema, f"{view.physical}_single")
    await connection.execute("DROP TABLE IF EXISTS pg_temp.batch")
    await whole.create(connection)
    await single.create(connection)
    await whole.stage_in(connection)
    await fold(connection, whole, [events])
    await fold(connection, single, [[event] for event in events])
    rows = await published(connection, whole)
    assert await published(connection, single) == rows
    return rows


@dataclasses.dataclass(frozen=True)
class ViewSpec:
    """The examples of one view.

    Args:
        connection: to a database that may be written to; the tables are made anew.
        schema: for the tables.
    """

    view: View
    connection: AsyncConnection[Any]
    schema: str

    async def given(self, *events: Any) -> "Rows":
        """These events, one after another, in one partition of their topic."""
        recorded = Log().of(*events)
        return Rows(await given(self.connection, self.schema, self.view, *recorded))


@dataclasses.dataclass(frozen=True)
class Rows:
    """What readers of the view see."""

    rows: Sequence[Mapping[str, Any]]

    def then(self, *rows: Mapping[str, Any]) -> None:
        """Exactly these rows, in any order; of each only the columns that are named.

        Raises:
            AssertionError: others are there.
        """
        names = list(dict.fromkeys(name for row in rows for name in row))
        got = sorted(({name: row[name] for name in names} for row in self.rows), key=repr)
        expected = sorted((dict(row) for row in rows), key=repr)
        if got != expected:
            raise AssertionError(difference("rows", expected, got))


@dataclasses.dataclass(frozen=True)
class IndexSpec:
    """The examples of one search index."""

    index: Index

    def given(self, *events: Any) -> "Found":
        """These events, one after another."""
        documents: dict[str, dict[str, Any]] = {}
        for one in Log().of(*events):
            match self.index.document(one.event, one.meta, one.position):
                case Put(id=id, fields=fields):
                    before = documents.get(id, {}) if self.index.merges else {}
                    documents[id] = before | dict(fields)
                case Drop(id=id):
                    documents.pop(id, None)
        return Found(documents)


@dataclasses.dataclass(frozen=True)
class Found:
    """The documents of the index, by id."""

    documents: Mapping[str, Mapping[str, Any]]

    def then(self, documents: Mapping[str, Mapping[str, Any]]) -> None:
        """Exactly these documents.

        Raises:
            AssertionError: others are there.
        """
        if self.documents != documents:
            raise AssertionError(difference("documents", sorted(documents.items()), sorted(self.documents.items())))


def batch_of(events: Sequence[Recorded], first: dict[int, int] | None = None) -> Batch:
    """Events as the reader would hand them out."""
    batch = few.batch_of(events[0].position.topic, list(events), [raw_of(event) for event in events])
    return dataclasses.replace(batch, first=first) if first else batch


def raw_of(event: Recorded) -> Raw:
    """The record that the event would come as; its schema id is of no registry."""
    at = event.position
    value = CODEC.encode(event.event)
    expected = at.offset if TOPICS[at.topic].is_decided else None
    meta = dataclasses.replace(event.meta, expected_offset=expected)
    return Raw(TOPICS[at.topic], at.partition, at.offset, meta.subject, value, meta.headers(), 0)


def columns_of(events: Sequence[Recorded]) -> Batch:
    """The same events as the reader hands out many of them: as columns."""
    batch = batch_of(events)
    topic = TOPICS[batch.topic]
    raws = batch.raws()
    frames = {p: frame.of_raws([raw for raw in raws if raw.partition == p], NAMES) for p in batch.ends}
    return Batch(batch.topic, batch.first, batch.ends, held(frames, topic, Decoder(CODEC, _no_registry)))


async def _no_registry(schema_id: int) -> Mapping[str, Any]:
    raise AssertionError(f"schema {schema_id} is none of today's")
