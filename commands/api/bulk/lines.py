"""An upload cut into lines, and each line read: NDJSON, or CSV with a header."""

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeAlias

import orjson

from commands.api.validation import Fault
from schemas.contracts import Contract
from schemas.errors import Invalid

ID = "id"

Parse: TypeAlias = Callable[[bytes], dict[str, Any]]


class Splitter:
    """Cuts chunks into numbered lines with bounded memory; a line over the limit comes as None.

    Args:
        limit_bytes: longest line.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._rest = b""
        self._dropping = False
        self._number = 0

    def feed(self, chunk: bytes) -> Iterator[tuple[int, bytes | None]]:
        """The lines that end in this chunk; empty ones are left out, but counted."""
        *whole, rest = chunk.split(b"\n")
        for index, line in enumerate(whole):
            yield from self._ended(self._rest + line if index == 0 else line)
            self._rest = b""
        self._keep(rest)

    def end(self) -> Iterator[tuple[int, bytes | None]]:
        """The last line, when no newline ended it."""
        if self._rest or self._dropping:
            yield from self._ended(self._rest)

    def _keep(self, rest: bytes) -> None:
        if self._dropping or len(self._rest) + len(rest) > self._limit:
            self._dropping, self._rest = True, b""
        else:
            self._rest += rest

    def _ended(self, line: bytes) -> Iterator[tuple[int, bytes | None]]:
        self._number += 1
        if self._dropping or len(line) > self._limit:
            self._dropping = False
            yield self._number, None
        elif stripped := line.strip():
            yield self._number, stripped


def parse_json(line: bytes) -> dict[str, Any]:
    """A line of NDJSON.

    Raises:
        Fault: it is no JSON object.
    """
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as fault:
        raise Fault(f"is no JSON: {fault}") from None
    if type(value) is not dict:
        raise Fault("must be a JSON object")
    return value


def csv_parser(header: bytes, contract: Contract) -> Parse:
    """How to read the lines below a CSV header.

    Raises:
        Invalid: the header names an unknown column, one twice, or lacks a required one.
    """
    columns = _columns(header, contract)
    numbers = {field["name"] for field in contract.fields if _is_number(field["type"])}

    def parse(line: bytes) -> dict[str, Any]:
        values = _row(line)
        if len(values) != len(columns):
            raise Fault(f"has {len(values)} values, the header {len(columns)} columns")
        return {
            name: _number(value) if name in numbers else value
            for name, value in zip(columns, values, strict=True)
            if value != ""
        }

    return parse


def _columns(header: bytes, contract: Contract) -> Sequence[str]:
    try:
        columns = [name.strip() for name in _row(header.removeprefix(b"\xef\xbb\xbf"))]
    except Fault as fault:
        raise Invalid(f"the header {fault.detail}", code="bad_csv_header") from None
    known = [ID, *(field["name"] for field in contract.fields)]
    errors = [_unknown(name, known) for name in columns if name not in known]
    errors += [{"pointer": f"/{n}", "detail": "stands twice"} for n in {n for n in columns if columns.count(n) > 1}]
    errors += [
        {"pointer": f"/{field['name']}", "detail": "is missing"}
        for field in contract.fields
        if "default" not in field and field["name"] not in columns
    ]
    if errors:
        raise Invalid(
            f"the first line of a CSV names its columns, out of {', '.join(known)}",
            code="bad_csv_header",
            errors=errors,
        )
    return columns


def _unknown(name: str, known: Sequence[str]) -> Mapping[str, str]:
    near = get_close_matches(name, known, n=1)
    hint = f": did you mean '{near[0]}'?" if near else ""
    return {"pointer": f"/{name}", "detail": f"is no column{hint}"}


def _row(line: bytes) -> list[str]:
    try:
        return next(csv.reader([line.decode()], strict=True))
    except UnicodeDecodeError:
        raise Fault("is not UTF-8") from None
    except csv.Error as fault:
        raise Fault(f"is no CSV: {fault}") from None


def _is_number(schema: Any) -> bool:
    """Whether a column holds numbers; a time may be one too."""
    if isinstance(schema, list):
        return any(_is_number(branch) for branch in schema)
    return (schema["type"] if isinstance(schema, dict) else schema) in ("int", "long", "float", "double")


def _number(text: str) -> Any:
    """A number where the text is one; else the text, for the validator to judge."""
    try:
        return int(text) if text.lstrip("-").isdigit() else _finite(float(text))
    except ValueError:
        return text


def _finite(value: float) -> Any:
    return value if math.isfinite(value) else str(value)
