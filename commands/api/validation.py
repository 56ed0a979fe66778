"""JSON to fields, as the contract has it: strict types, limits, and a fault that points at each field.

A contract is compiled once into closures, one per field; what comes in is then checked in a few microseconds.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import cache
from typing import Any, TypeAlias

import orjson

from schemas import algorithms
from schemas.contracts import Contract, contracts
from schemas.errors import Invalid
from schemas.models import RequestTraining

Fields: TypeAlias = dict[str, Any]
Check: TypeAlias = Callable[[Any], Any]

RANGES = {"int": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}
EXACT = 2**53  # a larger float may stand for several whole numbers
LATEST_EPOCH_S = 32_503_680_000  # the year 3000: whoever sends more has sent milliseconds


class Fault(Exception):
    """One value is not what its field takes.

    Args:
        detail: what it takes.
        path: where it is, below the field.
    """

    def __init__(self, detail: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.path = path

    def under(self, step: str | int) -> "Fault":
        """The same, seen from one level further out."""
        return Fault(self.detail, (step, *self.path))

    def error(self) -> dict[str, str]:
        """As a member of a problem's `errors`."""
        return {"pointer": pointer(self.path), "detail": self.detail}


def pointer(path: Sequence[str | int]) -> str:
    """A JSON pointer.

    Source: RFC 6901, section 3.
    """
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def _can_be_fitted(fields: Fields) -> Sequence[algorithms.Fault]:
    return algorithms.faults(fields["algorithm"], fields.get("params", {}))


RULES: Mapping[str, Callable[[Fields], Sequence[algorithms.Fault]]] = {RequestTraining.AVRO: _can_be_fitted}
"""What no single field tells, and can be told without the log."""


class Validator:
    """Checks the fields of one contract.

    Args:
        contract: what they have to fit.
        filled: fields that the caller may leave out because the API fills them.
    """

    def __init__(self, contract: Contract, filled: frozenset[str] = frozenset()) -> None:
        self._name = contract.name
        self._one_of = contract.one_of
        self._rule = RULES.get(contract.full_name)
        self._checks = {field["name"]: check_of(field) for field in contract.fields}
        self._defaults = {f["name"]: f["default"] for f in contract.fields if "default" in f}
        self._required = [f["name"] for f in contract.fields if "default" not in f and f["name"] not in filled]

    def __call__(self, given: Any) -> Fields:
        """The fields, defaults filled in.

        Raises:
            Invalid: something is missing, unknown or of the wrong form; `errors` names each fault.
        """
        fields, faults = self.check(given)
        if faults:
            raise Invalid(
                f"{self._name}: {faults[0].detail}"
                if len(faults) == 1
                else f"{self._name} has {len(faults)} faults; `errors` names each",
                errors=[fault.error() for fault in faults],
            )
        return fields

    def check(self, given: Any) -> tuple[Fields, list[Fault]]:
        """The fields, and what is wrong with them."""
        if type(given) is not dict:
            return {}, [Fault(f"must be a JSON object, not {_name_of(given)}")]
        fields: Fields = {}
        faults: list[Fault] = []
        checks = self._checks
        for name, value in given.items():
            check = checks.get(name)
            if check is None:
                faults.append(self._unknown(name))
                continue
            try:
                fields[name] = check(value)
            except Fault as fault:
                faults.append(fault.under(name))
        faults += [Fault("is missing", (name,)) for name in self._required if name not in given]
        if self._one_of and not faults:
            faults += self._choice(fields)
        if self._rule is not None and not faults:
            faults += [Fault(detail, path) for path, detail in self._rule(fields)]
        if len(fields) < len(checks):
            for name, default in self._defaults.items():
                if name not in fields:
                    fields[name] = default
        return fields, faults

    def _choice(self, fields: Fields) -> list[Fault]:
        """Whether exactly one of the fields that exclude each other says something."""
        said = [name for name in self._one_of if fields.get(name) not in (None, False)]
        if len(said) == 1:
            return []
        return [Fault(f"give exactly one of {', '.join(self._one_of)}, not {' and '.join(said) or 'none'}")]

    def _unknown(self, name: str) -> Fault:
        near = get_close_matches(name, self._checks, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(self._checks)}"
        return Fault(f"is no field of {self._name}: {hint}", (name,))


@cache
def validator(full_name: str) -> Validator:
    """The validator of a contract, compiled once."""
    contract = contracts()[full_name]
    return Validator(contract, generated(contract))


def generated(contract: Contract) -> frozenset[str]:
    """Fields that the API fills when the caller leaves them out."""
    return frozenset(field["name"] for field in contract.fields if field.get("generated"))


def check_of(field: Mapping[str, Any]) -> Check:
    """The check of one field, its limits included."""
    if field.get("json"):
        return _json(field)
    return _check(field["type"], field)


def _check(schema: Any, limits: Mapping[str, Any]) -> Check:
    match schema:
        case [*branches]:
            inner = next(_check(branch, limits) for branch in branches if branch != "null")
            return lambda value: None if value is None else inner(value)
        case {"type": "array", "items": items}:
            return _array(_check(items, {}))
        case {"type": "map", "values": values}:
            return _map(_check(values, {}))
        case {"type": "enum", "symbols": symbols}:
            return _enum(frozenset(symbols), ", ".join(symbols))
        case {"type": "record", "fields": fields}:
            return _record({f["name"]: check_of(f) for f in fields}, [f["name"] for f in fields if "default" not in f])
        case {"logicalType": "timestamp-micros"}:
            return _timestamp
        case {"type": primitive}:
            return _check(primitive, limits)
        case "string":
            return _string(limits)
        case "int" | "long":
            return _integer(limits, *RANGES[schema])
        case "float" | "double":
            return _number
        case "boolean":
            return _boolean
        case _:
            raise TypeError(f"a field of type {schema} cannot be sent as JSON")


def _string(limits: Mapping[str, Any]) -> Check:
    shortest, longest = limits.get("minLength", 0), limits.get("maxLength", math.inf)
    pattern = re.compile(limits["pattern"]) if "pattern" in limits else None

    def check(value: Any) -> str:
        if type(value) is not str:
            raise Fault(f"must be a string, not {_name_of(value)}")
        if not shortest <= len(value) <= longest:
            raise Fault(f"must have {shortest} to {longest} characters, not {len(value)}")
        if "\0" in value:
            raise Fault("must not hold a NUL character: stores cannot keep it")
        if pattern is not None and not pattern.search(value):
            raise Fault(f"must match {pattern.pattern}")
        return value

    return check


def _json(limits: Mapping[str, Any]) -> Check:
    """A JSON object, kept as text."""
    longest = limits.get("maxLength", math.inf)

    def check(value: Any) -> str:
        if type(value) is not dict:
            raise Fault(f"must be an object, not {_name_of(value)}")
        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
        if len(text) > longest:
            raise Fault(f"must have at most {longest} characters as JSON, not {len(text)}")
        return text

    return check


def _integer(limits: Mapping[str, Any], least: int, most: int) -> Check:
    least, most = limits.get("minimum", least), limits.get("maximum", most)

    def check(value: Any) -> int:
        if type(value) is float and value.is_integer() and abs(value) <= EXACT:  # 3.0 is whole in JSON Schema
            value = int(value)
        if type(value) is not int:
            raise Fault(f"must be a whole number, not {_name_of(value)}")
        if not least <= value <= most:
            raise Fault(f"must be from {least} to {most}, not {value}")
        return value

    return check


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise Fault(f"must be a number, not {_name_of(value)}")
    try:
        number = float(value)
    except OverflowError:
        raise Fault("must be a number that fits 64 bits") from None
    if not math.isfinite(number):
        raise Fault("must be a finite number")
    return number


def _boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise Fault(f"must be true or false, not {_name_of(value)}")
    return value


def _enum(symbols: frozenset[str], listed: str) -> Check:
    def check(value: Any) -> str:
        if type(value) is not str or value not in symbols:
            raise Fault(f"must be one of {listed}")
        return value

    return check


def _array(inner: Check) -> Check:
    def check(value: Any) -> list[Any]:
        if type(value) is not list:
            raise Fault(f"must be a list, not {_name_of(value)}")
        return [_within(inner, index, item) for index, item in enumerate(value)]

    return check


def _map(inner: Check) -> Check:
    key_check = _string({})

    def check(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise Fault(f"must be an object, not {_name_of(value)}")
        return {_within(key_check, key, key): _within(inner, key, item) for key, item in value.items()}

    return check


def _record(checks: Mapping[str, Check], required: Sequence[str]) -> Check:
    def check(value: Any) -> Fields:
        if type(value) is not dict:
            raise Fault(f"must be an object, not {_name_of(value)}")
        for name in required:
            if name not in value:
                raise Fault("is missing", (name,))
        for name in value:
            if name not in checks:
                raise Fault(f"is not known here: known are {', '.join(checks)}", (name,))
        return {name: _within(checks[name], name, item) for name, item in value.items()}

    return check


def _within(inner: Check, step: str | int, value: Any) -> Any:
    try:
        return inner(value)
    except Fault as fault:
        raise fault.under(step) from None


def _timestamp(value: Any) -> datetime:
    """ISO 8601 with an offset from UTC, or seconds since 1970; JSON has no times, what has read others may give one."""
    if type(value) is datetime:
        return value
    if type(value) is str:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise Fault("must be an ISO 8601 time such as 2026-03-01T12:00:00Z, or seconds since 1970") from None
        if moment.tzinfo is None:
            raise Fault("needs an offset from UTC: end it with Z or +02:00")
        try:
            return moment.astimezone(UTC)
        except OverflowError:
            raise Fault("must be a time of the years 1 to 9999") from None
    if type(value) not in (int, float) or not math.isfinite(value):
        raise Fault("must be an ISO 8601 time such as 2026-03-01T12:00:00Z, or seconds since 1970")
    if not 0 <= value < LATEST_EPOCH_S:
        raise Fault("must be seconds since 1970; this looks like another unit")
    return datetime.fromtimestamp(value, UTC)


def _name_of(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", int: "a number"}
    return "null" if value is None else names.get(type(value), "a number")
