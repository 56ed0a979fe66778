"""CSV with a header, read row by row."""

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeAlias

from commands.api.bulk.cut import Bad, Cut, Start
from commands.api.bulk.quotes import Rows
from commands.api.validation import Fault
from schemas.contracts import Contract
from schemas.errors import Invalid

ID = "id"

Parse: TypeAlias = Callable[[bytes], dict[str, Any]]


class Table:
    """CSV.

    Args:
        contract: of the facts; its fields and `id` are the columns.
        limit_bytes: longest line.
        start: where the upload goes on.

    Attributes:
        preamble: the header, once it has come.

    Raises:
        Invalid: from the first `feed`; the header is wrong.
    """

    def __init__(self, contract: Contract, limit_bytes: int, start: Start) -> None:
        self.preamble = start.preamble
        self._contract = contract
        self._rows = Rows(limit_bytes, offset=start.size_bytes, number=start.number)
        self._parse = csv_parser(start.preamble, contract) if start.preamble else None

    @property
    def offset(self) -> int:
        """Bytes up to which every row has come out."""
        return self._rows.offset

    @property
    def number(self) -> int:
        """Of the last line."""
        return self._rows.number

    def feed(self, chunk: bytes) -> Iterator[Cut]:
        """The rows that end in this chunk."""
        return self._read(self._rows.feed(chunk))

    def end(self) -> Iterator[Cut]:
        """The last row, and those that a quote kept open."""
        return self._read(self._rows.end())

    def _read(self, rows: Iterator[tuple[int, bytes | Bad]]) -> Iterator[Cut]:
        for number, row in rows:
            if self._parse is None:
                self._begin(row)
            elif isinstance(row, Bad):
                yield number, row
            else:
                yield number, _parsed(self._parse, row)

    def _begin(self, row: bytes | Bad) -> None:
        if isinstance(row, Bad):
            raise Invalid(f"the header {row.fault.detail}", code="bad_csv_header")
        self._parse = csv_parser(row, self._contract)
        self.preamble = row


def _parsed(parse: Parse, row: bytes) -> dict[str, Any] | Bad:
    try:
        return parse(row)
    except Fault as fault:
        return Bad("malformed_line", fault)


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
        return next(csv.reader(io.StringIO(line.decode().removesuffix("\r"), newline=""), strict=True))
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
