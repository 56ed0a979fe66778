"""Many Avro records decoded at once: their bytes joined behind one object-container header, read by a native reader.

Source: Avro 1.12 specification, Object Container Files.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import jetliner
import polars as pl

from infra.kafka.varint import varint
from schemas.errors import Incompatible

SYNC = b"retrace-sync-16b"


def text(value: bytes) -> bytes:
    """A string or bytes as Avro and Kafka write them: length, then content."""
    return varint(len(value)) + value


def read(schema: Mapping[str, Any], count: int, data: bytes, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Records that stand one after another; enumerations as text.

    They go into one block: jetliner 0.2 sometimes reads the last of many blocks twice.

    Args:
        schema: of the writer, a record.
        count: how many records.
        data: their bytes.
        columns: fields wanted; None for all.

    Raises:
        Incompatible: the bytes do not fit the schema, or it is one that the reader does not take. Bytes left over at
            the end go unnoticed.
    """
    if count and any(_hides_enum(field["type"]) for field in schema["fields"]):
        raise Incompatible("jetliner 0.2 does not read enumerations within records or lists", code="nested_enum")
    parts = [_header(schema)]
    if count:
        parts += (varint(count), varint(len(data)), data, SYNC)
    with _file(parts) as path:
        try:
            frame = jetliner.read_avro(
                path, columns=list(columns) if columns is not None else None, max_block_size=None, batch_size=count + 1
            )
        except jetliner.JetlinerError as fault:
            raise Incompatible(f"the bytes do not fit the schema they name: {fault}", code="bad_bytes") from fault
    if len(frame) != count:
        raise Incompatible(f"{len(frame)} records were read where {count} should be", code="bad_bytes")
    return frame.with_columns(
        pl.col(name).cast(_with_text(kind)) for name, kind in frame.schema.items() if _varied(kind)
    )


def _hides_enum(schema: Any, depth: int = 0) -> bool:
    """Whether there is an enumeration below the uppermost level."""
    match schema:
        case [*branches]:
            return any(_hides_enum(branch, depth) for branch in branches)
        case {"type": "enum"}:
            return depth > 0
        case {"type": "array", "items": inner} | {"type": "map", "values": inner}:
            return _hides_enum(inner, depth + 1)
        case {"type": "record", "fields": fields}:
            return any(_hides_enum(field["type"], depth + 1) for field in fields)
        case {"type": dict() | list() as inner}:
            return _hides_enum(inner, depth)
        case _:
            return False


def _varied(kind: pl.DataType) -> bool:
    return isinstance(kind, pl.Categorical | pl.Enum | pl.List | pl.Struct)


def _with_text(kind: Any) -> Any:
    """The kind with texts where it has enumerations."""
    match kind:
        case pl.Categorical() | pl.Enum():
            return pl.String()
        case pl.List():
            return pl.List(_with_text(kind.inner))
        case pl.Struct():
            return pl.Struct({field.name: _with_text(field.dtype) for field in kind.fields})
        case _:
            return kind


def _header(schema: Mapping[str, Any]) -> bytes:
    entries = {b"avro.schema": json.dumps(dict(schema)).encode(), b"avro.codec": b"null"}
    pairs = b"".join(text(name) + text(value) for name, value in entries.items())
    return b"Obj\x01" + varint(len(entries)) + pairs + varint(0) + SYNC


@contextmanager
def _file(parts: Sequence[bytes]) -> Iterator[str]:
    """The parts as a file for a reader that takes only paths; in memory where the system can."""
    if not hasattr(os, "memfd_create"):
        with tempfile.NamedTemporaryFile() as file:
            file.writelines(parts)
            file.flush()
            yield file.name
        return
    with os.fdopen(os.memfd_create("retrace-avro"), "wb") as memory:
        memory.writelines(parts)
        memory.flush()
        yield f"/proc/self/fd/{memory.fileno()}"
