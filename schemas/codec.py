"""Records to bytes and back: Avro with the Confluent framing (0x00, 4-byte schema id, body)."""

import dataclasses
import io
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from importlib import import_module
from typing import Any, ClassVar, Protocol, TypeAlias

import fastavro
from fastavro.schema import SchemaParseException, UnknownType

from schemas.contracts import Contract, contracts
from schemas.errors import Incompatible
from schemas.upcast import UPCASTERS, Fields, upcast

MAGIC = 0
FRAME = struct.Struct(">bI")

SCALARS = frozenset((str, int, float, bool, bytes, datetime, type(None)))

ParsedSchema: TypeAlias = Any


class Record(Protocol):
    """An instance of a generated class."""

    AVRO: ClassVar[str]


class Codec:
    """Encodes with today's schemas, decodes with whatever schema the bytes name.

    Args:
        ids: registry id of each of today's records, by full name.
    """

    def __init__(self, ids: Mapping[str, int]) -> None:
        self._ids = dict(ids)
        self._writers: dict[int, tuple[str, ParsedSchema]] = {}
        for name, schema_id in ids.items():
            self._writers[schema_id] = (name, parsed(name))

    def encode(self, record: Record) -> bytes:
        """The framed bytes of `record`.

        Raises:
            Incompatible: a value does not fit the schema, or the record is of no known type.
        """
        return self.encode_fields(record.AVRO, as_fields(record))

    def encode_fields(self, full_name: str, fields: Fields) -> bytes:
        """The framed bytes of a record that is at hand as plain values, which spares making an instance of its class.

        Raises:
            Incompatible: as `encode`.
        """
        schema_id = self._ids.get(full_name)
        if schema_id is None:
            raise Incompatible(f"{full_name} has no schema id: register its .avsc first", code="unknown_type")
        buffer = io.BytesIO()
        buffer.write(FRAME.pack(MAGIC, schema_id))
        try:
            fastavro.schemaless_writer(buffer, parsed(full_name), fields)
        except (TypeError, ValueError, AttributeError, OverflowError) as fault:
            raise Incompatible(f"{full_name} does not fit its schema: {fault}", code="does_not_fit") from fault
        return buffer.getvalue()

    def knows(self, schema_id: int) -> bool:
        """Whether `decode` can read what names this id."""
        return schema_id in self._writers

    def current(self, schema_id: int) -> str | None:
        """Full name of the record when the id is that of its schema of today, which no upcaster changes; else None.

        What it names can be read by any Avro reader with the schema of `contracts()`, and gives what `decode` gives.

        Raises:
            Incompatible: the id is not known here.
        """
        if (writer := self._writers.get(schema_id)) is None:
            raise Incompatible(f"schema {schema_id} is not known here: ask the registry for it", code="unknown_schema")
        name, schema = writer
        known = name in contracts() and name not in UPCASTERS and schema is parsed(name)
        return name if known else None

    def learn(self, schema_id: int, schema: Mapping[str, Any]) -> None:
        """Take a writer's schema from the registry.

        Raises:
            Incompatible: it is no Avro schema of a record.
        """
        try:
            writer: ParsedSchema = fastavro.parse_schema(dict(schema), named_schemas={})
            name = str(writer["name"])
        except (SchemaParseException, UnknownType, KeyError, TypeError, ValueError) as fault:
            raise Incompatible(
                f"schema {schema_id} of the registry cannot be read: {fault}", code="bad_schema"
            ) from fault
        self._writers[schema_id] = (name, writer)

    def decode_fields(self, value: bytes) -> tuple[str, Fields]:
        """Type and fields of a record in today's form.

        Raises:
            Incompatible: no Confluent framing, an unknown schema, or bytes that do not fit it.
        """
        schema_id = schema_id_of(value)
        writer = self._writers.get(schema_id)
        if writer is None:
            raise Incompatible(f"schema {schema_id} is not known here: ask the registry for it", code="unknown_schema")
        name, writer_schema = writer
        reader_schema = parsed(name) if name in contracts() else None
        if reader_schema is None:
            raise Incompatible(
                f"{name} is no record of this version of Retrace: upgrade the reader", code="unknown_type"
            )
        return upcast(name, _read(value, writer_schema, reader_schema))

    def decode(self, value: bytes) -> Any:
        """The record, as an instance of its generated class.

        Raises:
            Incompatible: as `decode_fields`.
        """
        name, fields = self.decode_fields(value)
        return from_fields(name, fields)


def schema_id_of(value: bytes | None) -> int:
    """Schema id that framed bytes name.

    Raises:
        Incompatible: the bytes do not have the Confluent framing.
    """
    if value is None or len(value) < FRAME.size or value[0] != MAGIC:
        raise Incompatible("the value does not begin with a zero byte and a schema id", code="bad_framing")
    schema_id: int = FRAME.unpack_from(value)[1]
    return schema_id


@cache
def parsed(full_name: str) -> ParsedSchema:
    """Today's schema, made ready for fastavro."""
    return fastavro.parse_schema(dict(contracts()[full_name].schema), named_schemas={})


def _read(value: bytes, writer: ParsedSchema, reader: ParsedSchema) -> Fields:
    buffer = io.BytesIO(value)
    buffer.seek(FRAME.size)
    try:
        same = writer is reader
        fields: Fields = fastavro.schemaless_reader(buffer, writer, None if same else reader)  # type: ignore[assignment]
    except (
        EOFError,
        IndexError,
        ValueError,
        TypeError,
        KeyError,
        OverflowError,
        fastavro.read.SchemaResolutionError,
    ) as fault:
        raise Incompatible(f"the bytes do not fit the schema they name: {fault!r}", code="bad_bytes") from fault
    return fields


def as_fields(record: Any) -> Fields:
    """A record as the plain values that Avro libraries and JSON take."""
    cls: Any = type(record)
    return {
        name: value if type(value := getattr(record, name)) in SCALARS else _plain(value) for name in _field_names(cls)
    }


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [item if type(item) in SCALARS else _plain(item) for item in value]
    if dataclasses.is_dataclass(value):
        return as_fields(value)
    return value


@cache
def _field_names(cls: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(cls))


def from_fields(full_name: str, fields: Fields) -> Any:
    """The instance of the generated class that has these fields."""
    return _builder(full_name)(fields)


def class_of(contract: Contract) -> type[Any]:
    """The generated class of a contract."""
    cls: type[Any] = getattr(import_module(f"schemas.{contract.context}"), contract.name)
    return cls


@cache
def _builder(full_name: str) -> Callable[[Fields], Any]:
    contract = contracts()[full_name]
    return _record_builder(contract.schema, contract.context)


def _record_builder(schema: Mapping[str, Any], context: str) -> Callable[[Fields], Any]:
    cls = getattr(import_module(f"schemas.{context}"), schema["name"])
    converters = {f["name"]: c for f in schema["fields"] if (c := _converter(f["type"], context)) is not None}

    def build(fields: Fields) -> Any:
        for name, convert in converters.items():
            fields[name] = convert(fields[name])
        return cls(**fields)

    return build


def _converter(schema: Any, context: str) -> Callable[[Any], Any] | None:
    """How a decoded value becomes the value of the class; None when it stays as it is."""
    match schema:
        case [*branches]:
            inner = next((c for b in branches if (c := _converter(b, context)) is not None), None)
            return None if inner is None else partial(_unless_none, inner)
        case {"type": "array", "items": items}:
            inner = _converter(items, context)
            return tuple if inner is None else partial(_each, inner)
        case {"type": "record"}:
            return _record_builder(schema, context)
        case _:
            return None


def _unless_none(convert: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else convert(value)


def _each(convert: Callable[[Any], Any], values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(convert(value) for value in values)
