"""Contracts as JSON Schema, for the OpenAPI document."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from commands.api.validation import LATEST_EPOCH_S, generated
from schemas.algorithms import NUMBERS, algorithms
from schemas.contracts import Contract
from schemas.models import RequestTraining

Shape: TypeAlias = dict[str, Any]

LIMITS = ("minLength", "maxLength", "pattern", "minimum", "maximum")
NO_NUL = r"^[^\u0000]*$"
"""Stores cannot keep a NUL character."""

RANGES = {"int": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}


def shape_of(contract: Contract, without: Sequence[str] = ()) -> Shape:
    """The body that a contract takes; `without` names the fields that come in the path."""
    optional = generated(contract)
    fields = [field for field in contract.fields if field["name"] not in without]
    required = [f["name"] for f in fields if "default" not in f and f["name"] not in optional]
    return {
        "type": "object",
        "title": contract.name,
        "description": contract.schema["doc"],
        "properties": {field["name"]: field_shape(field) for field in fields},
        **({"required": required} if required else {}),
        **({"oneOf": [_said(contract, name) for name in contract.one_of]} if contract.one_of else {}),
        **({"anyOf": _algorithms()} if contract.full_name == RequestTraining.AVRO else {}),
        "additionalProperties": False,
    }


def _algorithms() -> list[Shape]:
    """Each algorithm with its parameters."""
    return [
        {
            "properties": {
                "algorithm": {"const": name},
                "params": {
                    "type": "object",
                    "properties": {
                        p: {"type": "string", "pattern": NUMBERS[said["type"]]} for p, said in known.items()
                    },
                    "additionalProperties": False,
                },
            }
        }
        for name, known in algorithms().items()
    ]


def _said(contract: Contract, name: str) -> Shape:
    """That a field is given and says something."""
    kinds = {field["name"]: field["type"] for field in contract.fields}
    value: Shape = {"const": True} if kinds[name] == "boolean" else {"not": {"type": "null"}}
    return {"required": [name], "properties": {name: value}}


def field_shape(field: Mapping[str, Any]) -> Shape:
    """One field, its limits, default and doc included."""
    shape = (
        {"type": "object"}
        if field.get("json")
        else _shape(field["type"], {name: field[name] for name in LIMITS if name in field})
    )
    shape["description"] = field["doc"]
    if "default" in field:
        shape["default"] = field["default"]
    return shape


def _shape(schema: Any, limits: Shape) -> Shape:
    match schema:
        case [*branches]:
            inner = next(_shape(branch, limits) for branch in branches if branch != "null")
            return {"anyOf": [inner, {"type": "null"}]}
        case {"type": "array", "items": items}:
            return {"type": "array", "items": _shape(items, {})}
        case {"type": "map", "values": values}:
            return {"type": "object", "propertyNames": {"pattern": NO_NUL}, "additionalProperties": _shape(values, {})}
        case {"type": "enum", "symbols": symbols}:
            return {"type": "string", "enum": list(symbols)}
        case {"type": "record", "fields": fields, "doc": doc}:
            return {
                "type": "object",
                "description": doc,
                "properties": {field["name"]: field_shape(field) for field in fields},
                "required": [field["name"] for field in fields if "default" not in field],
                "additionalProperties": False,
            }
        case {"logicalType": "timestamp-micros"}:
            seconds = {"type": "number", "minimum": 0, "exclusiveMaximum": LATEST_EPOCH_S}
            return {"anyOf": [{"type": "string", "format": "date-time"}, seconds]}
        case {"type": primitive}:
            return _shape(primitive, limits)
        case "int" | "long":
            least, most = RANGES[schema]
            return {"type": "integer", "minimum": least, "maximum": most, **limits}
        case "float" | "double":
            return {"type": "number", **limits}
        case "boolean":
            return {"type": "boolean"}
        case _:
            return {"type": "string", "pattern": NO_NUL, **limits}
