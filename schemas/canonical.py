"""Avro schemas as text that is equal when, and only when, the schemas are.

The text is what Java's `Schema.toString()` writes: attributes in a fixed order, names as short as their scope allows,
primitives as bare names; documentation, defaults and own attributes stay. Confluent's registry stores and compares this
very text, so a log written here means the same there.

Source: `org.apache.avro.Schema` (1.12), method `toJson` of each kind of schema.
"""

import json
import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeAlias

import avro.errors
import avro.schema
import fastavro
from fastavro.schema import SchemaParseException

from schemas.errors import Invalid

Json: TypeAlias = Any

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
_ATTRIBUTES = {
    "record": ("type", "name", "namespace", "doc", "fields", "aliases"),
    "error": ("type", "name", "namespace", "doc", "fields", "aliases"),
    "enum": ("type", "name", "namespace", "doc", "symbols", "default", "aliases"),
    "fixed": ("type", "name", "namespace", "doc", "size", "aliases"),
    "array": ("type", "items"),
    "map": ("type", "values"),
}
_FIELD_ATTRIBUTES = ("name", "type", "doc", "default", "order", "aliases")


@lru_cache(maxsize=4096)
def canonical(text: str, *, sort_own: bool = False) -> str:
    """The one way to write this schema.

    Args:
        text: schema as JSON.
        sort_own: also order the attributes that Avro does not know by name (Confluent's `normalize`).

    Raises:
        Invalid: the text is no Avro schema.
    """
    parse(text)
    return _dump(_Writer(sort_own=sort_own).schema(json.loads(text), ""))


@lru_cache(maxsize=4096)
def resolved(text: str) -> avro.schema.Schema:
    """The schema with every alias as a full name: the `avro` package compares aliases with nothing else.

    Raises:
        Invalid: the text is no Avro schema.
    """
    parse(text)
    return parse(_dump(_Writer(full_aliases=True).schema(json.loads(text), "")))


@lru_cache(maxsize=4096)
def parse(text: str) -> avro.schema.Schema:
    """The schema as the `avro` package sees it, checked to the last default.

    Raises:
        Invalid: the text is no Avro schema; the message says where it goes wrong.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", avro.errors.AvroWarning)  # an unknown logicalType counts as its base type
            parsed = avro.schema.parse(text)
        fastavro.parse_schema(json.loads(text))  # avro itself accepts a default of the wrong type
    except (avro.errors.AvroException, SchemaParseException, fastavro.schema.UnknownType) as error:
        raise Invalid(f"not an Avro schema: {_reason(error)}", code="invalid_schema") from error
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise Invalid(f"not an Avro schema: {_reason(error)}", code="invalid_schema") from error
    return parsed


def _dump(schema: Json) -> str:
    return json.dumps(schema, ensure_ascii=False, separators=(",", ":"))


def _reason(error: Exception) -> str:
    if isinstance(error, fastavro.schema.UnknownType):
        return f"unknown type {error.name}"
    return (str(error) or type(error).__name__)[:500]


class _Writer:
    """Walks a valid schema once, knowing which names were defined on the way."""

    def __init__(self, *, sort_own: bool = False, full_aliases: bool = False) -> None:
        self._sort_own = sort_own
        self._full_aliases = full_aliases
        self._known: set[str] = set()

    def schema(self, schema: Json, space: str) -> Json:
        """A schema that stands where names without a dot belong to the namespace `space`."""
        match schema:
            case str():
                return schema if schema in PRIMITIVES else self._reference(schema, space)
            case list():
                return [self.schema(branch, space) for branch in schema]
            case {"type": "record" | "error" | "enum" | "fixed"}:
                return self._named(schema, space)
            case {"type": "array" | "map" as kind}:
                inner = "items" if kind == "array" else "values"
                return {
                    "type": kind,
                    inner: self.schema(schema[inner], space),
                    **self._own(schema, _ATTRIBUTES[kind]),
                }
            case {"type": str() as kind} if kind in PRIMITIVES:
                own = self._own(schema, ("type",))
                return {"type": kind, **own} if own else kind
            case _:
                return self.schema(schema["type"], space)

    def _reference(self, name: str, space: str) -> str:
        full = name if "." in name else _join(space, name)
        if full not in self._known:
            full = name  # defined without a namespace
        return _relative(full, space)

    def _named(self, schema: Mapping[str, Json], outer: str) -> Json:
        full = schema["name"] if "." in schema["name"] else _join(schema.get("namespace", outer), schema["name"])
        space, _, name = full.rpartition(".")
        self._known.add(full)
        written: dict[str, Json] = {"type": schema["type"], "name": name}
        if space != outer:
            written["namespace"] = space
        written |= self._body(schema, space)
        written |= self._own(schema, _ATTRIBUTES[schema["type"]])
        if schema.get("aliases"):
            written["aliases"] = [self._alias(alias, space) for alias in schema["aliases"]]
        return written

    def _alias(self, alias: str, space: str) -> str:
        full = alias if "." in alias else _join(space, alias)
        return full if self._full_aliases else _relative(full, space)

    def _body(self, schema: Mapping[str, Json], space: str) -> dict[str, Json]:
        written = {key: schema[key] for key in ("doc",) if schema.get(key) is not None}
        if schema["type"] in ("record", "error"):
            return written | {"fields": [self._field(field, space) for field in schema["fields"]]}
        return written | {key: schema[key] for key in ("symbols", "default", "size") if key in schema}

    def _field(self, field: Mapping[str, Json], space: str) -> Json:
        written = {"name": field["name"], "type": self.schema(field["type"], space)}
        written |= {key: field[key] for key in ("doc", "default") if key in field}
        if field.get("order", "ascending") != "ascending":
            written["order"] = field["order"]
        if field.get("aliases"):
            written["aliases"] = list(field["aliases"])
        return written | self._own(field, _FIELD_ATTRIBUTES)

    def _own(self, schema: Mapping[str, Json], known: tuple[str, ...]) -> dict[str, Json]:
        own = [(key, value) for key, value in schema.items() if key not in known]
        return dict(sorted(own) if self._sort_own else own)


def _join(space: str, name: str) -> str:
    return f"{space}.{name}" if space else name


def _relative(full: str, space: str) -> str:
    own_space, _, name = full.rpartition(".")
    return name if own_space == space else full
