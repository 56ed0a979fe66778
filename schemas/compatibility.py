"""Whether readers and writers of two schemas understand each other, and which field is at fault when they do not.

The verdict is that of the `avro` package. It names places only by position and forgets them below a union, so a second
walk over the same pair finds the names.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from avro.compatibility import (
    ReaderWriterCompatibilityChecker,
    SchemaCompatibilityType,
    lookup_writer_field,
    schema_name_equals,
)
from avro.errors import AvroRuntimeException
from avro.schema import Schema

from schemas.canonical import resolved

Seen: TypeAlias = frozenset[tuple[int, int]]

KEEP = "keep it as it was, or put another field beside it"


class Difference(NamedTuple):
    """Why one schema cannot read what the other writes.

    Attributes:
        text: names the place.
        new_reads: what to do when the reader is the new schema.
        old_reads: what to do when the new schema is the writer.
    """

    text: str
    new_reads: str = KEEP
    old_reads: str = KEEP


class Level(StrEnum):
    """What a new version owes to earlier ones; a transitive level looks at all of them, the others at the latest."""

    NONE = "NONE"
    BACKWARD = "BACKWARD"
    BACKWARD_TRANSITIVE = "BACKWARD_TRANSITIVE"
    FORWARD = "FORWARD"
    FORWARD_TRANSITIVE = "FORWARD_TRANSITIVE"
    FULL = "FULL"
    FULL_TRANSITIVE = "FULL_TRANSITIVE"

    @property
    def is_transitive(self) -> bool:
        """Whether every earlier version counts."""
        return self.endswith("_TRANSITIVE")

    @property
    def is_backward(self) -> bool:
        """Whether the new version must read what the earlier ones wrote."""
        return self.startswith(("BACKWARD", "FULL"))

    @property
    def is_forward(self) -> bool:
        """Whether the earlier versions must read what the new one writes."""
        return self.startswith(("FORWARD", "FULL"))


def faults(new: str, earlier: Sequence[tuple[str, str]], level: Level) -> list[str]:
    """Why `new` may not follow the earlier schemas, and what to do; empty when it may.

    Args:
        new: schema as JSON.
        earlier: name ("version 3") and schema of each earlier version, oldest first.
        level: which of them count, in which direction.

    Raises:
        Invalid: one of the texts is no Avro schema.
    """
    found: list[str] = []
    for name, old in earlier if level.is_transitive else earlier[-1:]:
        if level.is_backward:
            found += [f"the new schema cannot read {name}: {d.text}; {d.new_reads}" for d in differences(new, old)]
        if level.is_forward:
            found += [f"{name} cannot read the new schema: {d.text}; {d.old_reads}" for d in differences(old, new)]
    return found


def unreadable(reader: str, writer: str) -> tuple[str, ...]:
    """As `differences`, without what to do."""
    return tuple(difference.text for difference in differences(reader, writer))


@lru_cache(maxsize=4096)
def differences(reader: str, writer: str) -> tuple[Difference, ...]:
    """Why data written with one schema cannot be read with the other; empty when it can.

    Raises:
        Invalid: one of the texts is no Avro schema.
    """
    read, written = resolved(reader), resolved(writer)
    refused = _refusals(read, written)
    if not refused:
        return ()
    return tuple(dict.fromkeys(_explain(read, written, "", frozenset()))) or tuple(map(Difference, refused))


def _refusals(reader: Schema, writer: Schema) -> tuple[str, ...]:
    try:
        checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
        result = checker.get_compatibility(reader, writer)
    except AvroRuntimeException as error:
        return (str(error),)
    if result.compatibility is SchemaCompatibilityType.compatible:
        return ()
    return tuple(sorted(result.messages))


def _explain(reader: Any, writer: Any, path: str, seen: Seen) -> Iterator[Difference]:
    """Walks only where the checker refuses."""
    pair = (id(reader), id(writer))
    if pair in seen or not _refusals(reader, writer):
        return
    seen |= {pair}
    match reader.type, writer.type:
        case ("record", "record") if schema_name_equals(reader, writer):
            yield from _explain_fields(reader, writer, path, seen)
        case ("array", "array"):
            yield from _explain(reader.items, writer.items, f"{path}[]", seen)
        case ("map", "map"):
            yield from _explain(reader.values, writer.values, f"{path}{{}}", seen)
        case (_, "union"):
            for branch in writer.schemas:
                yield from _explain(reader, branch, path, seen)
        case ("union", _):
            yield from _explain_branch(reader, writer, path, seen)
        case _:
            yield Difference(f"{_place(path)} {_difference(reader, writer)}")


def _explain_fields(reader: Any, writer: Any, path: str, seen: Seen) -> Iterator[Difference]:
    for field in reader.fields:
        inner = f"{path}.{field.name}" if path else field.name
        source = lookup_writer_field(writer_schema=writer, reader_field=field)
        if source is not None:
            yield from _explain(field.type, source.type, inner, seen)
        elif not field.has_default:
            missing = f"field '{inner}' has no default and is not written"
            yield Difference(missing, new_reads="give it a default", old_reads="keep it: those who read it need it")


def _explain_branch(reader: Any, writer: Any, path: str, seen: Seen) -> Iterator[Difference]:
    """A record that changed inside is better explained by its field than by the union that lost it."""
    for branch in reader.schemas:
        if branch.type == writer.type and _label(branch) == _label(writer):
            yield from _explain(branch, writer, path, seen)
            return
    yield Difference(f"{_place(path)} may be {_label(writer)}, which the reader's union does not have")


def _difference(reader: Any, writer: Any) -> str:
    if reader.type == writer.type == "enum" and schema_name_equals(reader, writer):
        missing = ", ".join(sorted(set(writer.symbols) - set(reader.symbols)))
        return f"may be {missing}, which the reader's enum has not and takes no default for"
    if reader.type == writer.type == "fixed" and schema_name_equals(reader, writer):
        return f"is written with {writer.size} bytes and read with {reader.size}"
    return f"is written as {_label(writer)} and read as {_label(reader)}"


def _label(schema: Any) -> str:
    return str(getattr(schema, "fullname", None) or schema.type)


def _place(path: str) -> str:
    return f"field '{path}'" if path else "the value"
