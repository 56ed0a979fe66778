"""Named types of a file that holds several records: a union defines each once, and afterwards says its name."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

DEFINING = ("record", "enum", "fixed")


def apart(records: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The records of one file, each complete, because each is registered by itself.

    A type that an earlier record defined is written out where a later one names it first.
    """
    known: dict[str, Mapping[str, Any]] = {}
    for record in records:
        yield _complete(record, known, set())


def _complete(schema: Any, known: dict[str, Mapping[str, Any]], here: set[str]) -> Any:
    """The schema; `known` are the types of the file so far, `here` those of the record."""
    match schema:
        case str():
            name = schema.rsplit(".", 1)[-1]
            return _complete(known[name], known, here) if name in known and name not in here else schema
        case list():
            return [_complete(branch, known, here) for branch in schema]
        case {"type": kind, "name": str(name)} if kind in DEFINING:
            known[name] = schema
            here.add(name)
            fields = [{**field, "type": _complete(field["type"], known, here)} for field in schema.get("fields", ())]
            return {**schema, "fields": fields} if "fields" in schema else schema
        case {"type": "array", "items": items}:
            return {**schema, "items": _complete(items, known, here)}
        case {"type": "map", "values": values}:
            return {**schema, "values": _complete(values, known, here)}
        case {"type": str()}:
            return schema
        case {"type": inner}:
            return {**schema, "type": _complete(inner, known, here)}
        case _:
            return schema
