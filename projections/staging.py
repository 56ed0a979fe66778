"""From events to the rows of a staged batch."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import cache
from operator import attrgetter
from types import MappingProxyType
from typing import Any, TypeAlias

import orjson

from projections.view import View
from schemas.envelope import Recorded

Getter: TypeAlias = Callable[[Recorded], Any]

META: Mapping[str, Getter] = MappingProxyType(
    {
        "event": lambda recorded: type(recorded.event).__name__,
        "event_type": lambda recorded: type(recorded.event).AVRO,
        "event_id": attrgetter("meta.id"),
        "key": attrgetter("meta.subject"),
        "time": attrgetter("meta.time"),
        "actor": attrgetter("meta.actor"),
        "tenant": attrgetter("meta.tenant"),
        "correlation_id": attrgetter("meta.correlation_id"),
        "causation_id": attrgetter("meta.causation_id"),
        "command_offset": attrgetter("meta.command_offset"),
        "fingerprint": attrgetter("meta.fingerprint"),
        "topic": attrgetter("position.topic"),
        "partition": attrgetter("position.partition"),
        "offset": attrgetter("position.offset"),
    }
)
"""Columns of a batch that do not come from a field of the event: what stands around it. `event` is the class's name."""

IDENTITY = ("key", "event_id", "offset")
"""What telling a repeat takes."""


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of a staged batch.

    Attributes:
        name: name, without quotes.
        type: PostgreSQL type.
    """

    name: str
    type: str


@cache
def columns(view: View) -> tuple[Column, ...]:
    """Columns of the batch of `view`; those that tell a repeat are added where they are needed."""
    declared = [Column(name.strip('"'), kind) for name, kind in (part.split(None, 1) for part in view.batch.split(","))]
    identity = {"key": "text", "event_id": "uuid", "offset": "bigint"} if view.deduplicate else {}
    names = {column.name for column in declared}
    return (*declared, *(Column(name, kind) for name, kind in identity.items() if name not in names))


def row_maker(view: View, event: type[Any]) -> Callable[[Recorded], tuple[Any, ...]]:
    """How an event of this class becomes a row."""
    getters = tuple(_getter(column, event) for column in columns(view))
    return lambda recorded: tuple([get(recorded) for get in getters])


def _getter(column: Column, event: type[Any]) -> Getter:
    if column.name in META:
        return META[column.name]
    if column.name not in {field.name for field in dataclasses.fields(event)}:
        return lambda _: None
    get = attrgetter(f"event.{column.name}")
    if column.type.strip() == "jsonb":
        return lambda recorded: _json(get(recorded))
    if column.type.strip().endswith("[]"):
        return lambda recorded: None if (value := get(recorded)) is None else list(value)
    return get


def _json(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value).decode()
