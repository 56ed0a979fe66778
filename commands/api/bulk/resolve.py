"""Records of somebody else's Avro schema as the fields of a contract.

Field by field as in Avro's schema resolution, with two liberties: the names of the record and of its enumerations do
not matter, and a text may stand where the contract has an enumeration or a time, as in JSON. What a value is worth is
judged afterwards, by the same rules as for JSON.

Source: Avro 1.12 specification, Schema Resolution.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from commands.api.bulk.table import ID
from commands.api.validation import Fault
from schemas.contracts import Contract, contracts
from schemas.errors import Invalid
from schemas.upcast import UPCASTERS, upcast

Convert: TypeAlias = Callable[[Any], Any]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TICKS = {"timestamp-millis": 1_000, "timestamp-micros": 1_000_000, "timestamp-nanos": 1_000_000_000}
TAKES = {
    "string": {"string", "bytes", "enum"},
    "enum": {"enum", "string"},
    "double": {"int", "long", "float", "double"},
    "float": {"int", "long", "float"},
    "long": {"int", "long"},
    "int": {"int"},
    "boolean": {"boolean"},
    "time": {"int", "long", "string"},
}
"""What a writer may have for a type of ours."""


class Resolver:
    """Fields of a contract out of what a writer's schema gives.

    Args:
        contract: of the facts.
        writer: schema of the records, a record; it may be an old form of the contract that is upcast.

    Raises:
        Invalid: a field is missing or of a type that cannot become ours; `errors` names each.
    """

    def __init__(self, contract: Contract, writer: Mapping[str, Any]) -> None:
        name = writer.get("name", "")
        namespace = writer.get("namespace")
        full_name = name if "." in name or not namespace else f"{namespace}.{name}"
        self._old = full_name if full_name in UPCASTERS and full_name in contracts() else None
        reader = contracts()[self._old] if self._old else contract
        given = {field["name"]: field["type"] for field in writer["fields"]}
        self._fields = dict(_resolved(reader, given))

    def __call__(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The fields; those that are null are left out.

        Raises:
            Fault: a value cannot be ours.
        """
        fields: dict[str, Any] = {}
        for name, convert in self._fields.items():
            value = record[name]
            if value is not None:
                fields[name] = value if convert is None else _converted(name, convert, value)
        return self._upcast(fields) if self._old else fields

    def _upcast(self, old: dict[str, Any]) -> dict[str, Any]:
        id = old.pop(ID, None)
        missing = self._fields.keys() - old.keys() - {ID}
        if missing:
            raise Fault("is missing", (min(missing),))
        fields = upcast(self._old or "", old)[1]
        return fields if id is None else fields | {ID: id}


def _resolved(reader: Contract, given: Mapping[str, Any]) -> Sequence[tuple[str, Convert | None]]:
    errors: list[Mapping[str, str]] = []
    fields: list[tuple[str, Convert | None]] = []
    for field in ({"name": ID, "type": "string", "default": None}, *reader.fields):
        name = field["name"]
        if name not in given:
            if "default" not in field:
                errors.append({"pointer": f"/{name}", "detail": "is missing in the writer's schema"})
            continue
        ours, theirs = _kind(field["type"]), [b for b in _branches(given[name]) if _plain(b) != "null"]
        if wrong := [_plain(b) for b in theirs if _plain(b) not in TAKES.get(ours, ())]:
            errors.append({"pointer": f"/{name}", "detail": f"is {wrong[0]} in the writer's schema, and {ours} here"})
        fields.append((name, _converter(field["type"], ours, theirs)))
    if errors:
        told = "; ".join(f"{error['pointer'][1:]} {error['detail']}" for error in errors)
        raise Invalid(
            f"the file's schema does not fit {reader.name}: {told}", code="incompatible_schema", errors=errors
        )
    return fields


def _converter(ours: Any, kind: str, theirs: Sequence[Any]) -> Convert | None:
    if kind == "time":
        return _time(next((TICKS[b["logicalType"]] for b in theirs if _logical(b) in TICKS), 1_000_000))
    if kind == "enum":
        known = {symbol for branch in _branches(ours) if isinstance(branch, dict) for symbol in branch["symbols"]}
        other = next((b.get("default") for b in _branches(ours) if isinstance(b, dict)), None)
        from_enum = all(_plain(branch) == "enum" for branch in theirs)
        return (lambda symbol: symbol if symbol in known or other is None else other) if from_enum else None
    return _text if kind == "string" and any(_plain(branch) == "bytes" for branch in theirs) else None


def _converted(name: str, convert: Convert, value: Any) -> Any:
    try:
        return convert(value)
    except (OverflowError, UnicodeDecodeError) as fault:
        raise Fault(f"cannot be read: {fault}", (name,)) from None


def _time(ticks: int) -> Convert:
    def convert(value: Any) -> Any:
        return value if isinstance(value, str) else EPOCH + timedelta(microseconds=value * 1_000_000 // ticks)

    return convert


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _kind(schema: Any) -> str:
    branch = next(b for b in _branches(schema) if _plain(b) != "null")
    return "time" if _logical(branch) in TICKS else _plain(branch)


def _branches(schema: Any) -> Sequence[Any]:
    return schema if isinstance(schema, list) else [schema]


def _plain(schema: Any) -> str:
    inner = schema["type"] if isinstance(schema, dict) else schema
    return _plain(inner) if isinstance(inner, dict) else str(inner)


def _logical(schema: Any) -> str | None:
    return schema.get("logicalType") if isinstance(schema, dict) else None


def without_logical(schema: Any) -> Any:
    """The schema with every value as it is in the bytes: a value out of range must not break off a whole block."""
    if isinstance(schema, list):
        return [without_logical(branch) for branch in schema]
    if isinstance(schema, dict):
        return {key: without_logical(value) for key, value in schema.items() if key != "logicalType"}
    return schema


def has_endless(schema: Any) -> bool:
    """Whether a list of these could have a billion items in a few bytes: items of no size."""
    if isinstance(schema, list):
        return any(map(has_endless, schema))
    if not isinstance(schema, dict):
        return False
    if schema.get("type") == "array" and _is_empty(schema["items"]):
        return True
    inner = [schema.get("type"), schema.get("items"), schema.get("values"), *schema.get("fields", ())]
    return any(has_endless(part) for part in inner)


def _is_empty(schema: Any) -> bool:
    if isinstance(schema, list):
        return False  # the number of the branch has a size
    if not isinstance(schema, dict):
        return schema not in ("boolean", "int", "long", "float", "double", "bytes", "string")
    if schema["type"] == "record":
        return all(_is_empty(field["type"]) for field in schema["fields"])
    return schema.get("size") == 0 or (
        schema["type"] not in ("enum", "fixed", "array", "map") and _is_empty(schema["type"])
    )
