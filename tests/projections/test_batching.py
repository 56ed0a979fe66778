"""However the log is cut into batches, and however its partitions are interleaved, a view says the same."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from random import Random
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import NAMESPACE_URL, uuid5

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg import AsyncConnection
from uuid6 import uuid7

from infra.settings import Settings
from projections.runner import declared
from projections.table import Table
from projections.testing import columns_of, fold, minute
from projections.view import View, topics_of
from schemas.contracts import contracts
from schemas.envelope import Meta, Recorded
from schemas.position import Position

VIEWS = [projection for projection in declared() if isinstance(projection, View)]
KEYS = {"item_id", "user_id", "model", "run_id", "deployment_id", "decision_id", "command_id", "key_id", "schedule_id"}


def values(name: str, kind: Any) -> st.SearchStrategy[Any]:
    """Few different values, so that events meet."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return st.one_of(*(st.none() if part is type(None) else values(name, part) for part in inner))
    if origin is Literal:
        return st.sampled_from(inner)
    if origin is tuple:
        return st.lists(values("", inner[0]), max_size=2).map(tuple)
    if origin in (Mapping, dict):
        return st.dictionaries(st.sampled_from(["p", "q"]), values("", inner[1]), max_size=2)
    if dataclasses.is_dataclass(kind):
        return _events(kind)
    few: dict[Any, st.SearchStrategy[Any]] = {
        str: st.sampled_from(["a", "b"] if name in KEYS else ["", "x", "y\n\t\\N"]),
        int: st.integers(1, 3),
        float: st.sampled_from([0.5, 1.5]),
        bool: st.booleans(),
        bytes: st.sampled_from([b"", b"x"]),
        datetime: st.integers(0, 3).map(minute),
    }
    return few[kind]


def events(cls: type[Any]) -> st.SearchStrategy[Any]:
    hints = get_type_hints(cls)
    return st.builds(cls, **{field.name: values(field.name, hints[field.name]) for field in dataclasses.fields(cls)})


_events: Callable[[Any], st.SearchStrategy[Any]] = cache(events)


@st.composite
def histories(draw: st.DrawFn, view: View) -> dict[tuple[str, int], list[Recorded]]:
    """By topic and partition; all events of a key are in one partition, and the events of one command adjoin."""
    history: dict[tuple[str, int], list[Recorded]] = {}
    for event in draw(st.lists(st.one_of(*map(_events, view.reads)), min_size=1, max_size=14)):
        contract = contracts()[event.AVRO]
        topic = contract.topic or draw(st.sampled_from(topics_of(view)))
        key = getattr(event, contract.key) if contract.key else draw(st.sampled_from(["a", "b"]))
        key = key or "a"
        if contract.is_outcome:  # a command is answered on one topic
            event = dataclasses.replace(event, command_id=f"{topic}/{event.command_id}")
        named = {name for name in ("letter_id", "request_id") if hasattr(event, name)}
        if named:  # what they name is of one key
            event = dataclasses.replace(event, **{name: f"{key}/{getattr(event, name)}" for name in named})
        line = history.setdefault((topic, ord(key[0]) % 2), [])
        line.append(placed(event, key, topic, line, draw))
    return history


def placed(event: Any, key: str, topic: str, line: Sequence[Recorded], draw: st.DrawFn) -> Recorded:
    before = line[-1] if line else None
    outcome = contracts()[event.AVRO].is_outcome
    together = before is not None and before.meta.subject == key and not outcome and before.meta.causation_id != ""
    command = 0 if before is None else before.meta.command_offset or 0
    if not (together and draw(st.booleans())):
        command += 1
    chosen = draw(st.sampled_from([None, None, 1, 2]))
    meta = Meta(
        id=uuid5(NAMESPACE_URL, f"{key}{chosen}") if chosen else uuid7(),
        type=event.AVRO,
        source="test",
        subject=key,
        time=minute(len(line)),
        causation_id="" if outcome else f"c{command}",
        command_offset=command,
    )
    return Recorded(event, meta, Position(topic, ord(key[0]) % 2, len(line)))


def cut(chance: Random, history: Mapping[tuple[str, int], list[Recorded]]) -> list[list[Recorded]]:
    """Batches of one topic each, in some interleaving of the partitions."""
    lines = {at: list(line) for at, line in history.items()}
    batches: list[list[Recorded]] = []
    while lines:
        topic = chance.choice(sorted({topic for topic, _ in lines}))
        batch: list[Recorded] = []
        for at in [at for at in lines if at[0] == topic]:
            taken = chance.randint(0, len(lines[at]))
            batch += lines[at][:taken]
            lines[at] = lines[at][taken:]
        batches.append(batch)
        lines = {at: line for at, line in lines.items() if line}
    return batches


async def content(connection: AsyncConnection[Any], table: Table) -> list[str]:
    rows = await connection.execute(f"SELECT t::text AS row FROM {table.name} t ORDER BY 1".encode())
    return [row["row"] async for row in rows]


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
async def test_any_batching_gives_the_same_table(
    view: View, database: AsyncConnection[Any], settings: Settings
) -> None:
    """A rebuild reads in other batches than the live fold did, and as columns, and must come to the same rows."""
    schema = settings.postgres.db_schema
    tables = [Table(view, schema, f"{view.physical}_{name}") for name in ("single", "batches", "again")]
    for table in tables:
        await table.create(database)
    await tables[0].stage_in(database)

    @given(st.data())
    @hypothesis_settings(
        max_examples=20, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True
    )
    def collect(data: st.DataObject) -> None:
        history = data.draw(histories(view))
        chance = Random(data.draw(st.integers(0, 1_000_000)))
        examples.append((history, [cut(chance, history), cut(chance, history)]))

    examples: list[tuple[dict[tuple[str, int], list[Recorded]], list[list[list[Recorded]]]]] = []
    collect()
    for history, cuts in examples:
        for table in tables:
            await database.execute(f"DELETE FROM {table.name}".encode())
            if view.deduplicate:
                await database.execute(f"DELETE FROM {table.name}_seen".encode())
        await fold(database, tables[0], [[event] for event in itertools.chain(*history.values())])
        await fold(database, tables[1], cuts[0])
        for batch in filter(None, cuts[1]):
            async with database.transaction():
                await tables[2].fold(database, columns_of(batch))
        expected = await content(database, tables[0])
        assert await content(database, tables[1]) == expected, history
        assert await content(database, tables[2]) == expected, history
