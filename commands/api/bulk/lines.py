"""An upload cut into lines, and NDJSON read from them."""

from collections.abc import Iterator
from typing import Any

import orjson

from commands.api.bulk.cut import Bad, Cut, Start
from commands.api.validation import Fault

TOO_LONG = Bad("line_too_long", Fault("is longer than a line may be"))


class Splitter:
    """Cuts chunks into numbered lines with bounded memory; a line over the limit comes as None.

    Args:
        limit_bytes: longest line.
        number: lines before the first.
        whole: give lines as they are, empty ones too; else stripped, and empty ones only counted.

    Attributes:
        offset: bytes up to which every line has come out.
        number: of the last line that ended.
    """

    def __init__(self, limit_bytes: int, *, offset: int = 0, number: int = 0, whole: bool = False) -> None:
        self.offset = offset
        self.number = number
        self._limit = limit_bytes
        self._whole = whole
        self._rest = b""
        self._dropped = 0

    def feed(self, chunk: bytes) -> Iterator[tuple[int, bytes | None]]:
        """The lines that end in this chunk."""
        *whole, rest = chunk.split(b"\n")
        for index, line in enumerate(whole):
            yield from self._ended(self._rest + line if index == 0 else line, 1)
            self._rest = b""
        self._keep(rest)

    def end(self) -> Iterator[tuple[int, bytes | None]]:
        """The last line, when no newline ended it."""
        if self._rest or self._dropped:
            yield from self._ended(self._rest, 0)

    def _keep(self, rest: bytes) -> None:
        if self._dropped or len(self._rest) + len(rest) > self._limit:
            self._dropped, self._rest = self._dropped + len(self._rest) + len(rest), b""
        else:
            self._rest += rest

    def _ended(self, line: bytes, newline: int) -> Iterator[tuple[int, bytes | None]]:
        self.number += 1
        self.offset += self._dropped + len(line) + newline
        if self._dropped or len(line) > self._limit:
            self._dropped = 0
            yield self.number, None
        elif self._whole:
            yield self.number, line
        elif stripped := line.strip():
            yield self.number, stripped


class Lines:
    """NDJSON.

    Args:
        limit_bytes: longest line.
        start: where the upload goes on.
    """

    preamble = b""

    def __init__(self, limit_bytes: int, start: Start) -> None:
        self._splitter = Splitter(limit_bytes, offset=start.size_bytes, number=start.number)

    @property
    def offset(self) -> int:
        """Bytes up to which every line has come out."""
        return self._splitter.offset

    @property
    def number(self) -> int:
        """Of the last line."""
        return self._splitter.number

    def feed(self, chunk: bytes) -> Iterator[Cut]:
        """The lines that end in this chunk."""
        return map(_read, self._splitter.feed(chunk))

    def end(self) -> Iterator[Cut]:
        """The last line, when no newline ended it."""
        return map(_read, self._splitter.end())


def _read(numbered: tuple[int, bytes | None]) -> Cut:
    number, line = numbered
    if line is None:
        return number, TOO_LONG
    try:
        return number, parse_json(line)
    except Fault as fault:
        return number, Bad("malformed_line", fault)


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
