"""Lines of a CSV joined where a quoted value holds a line break.

Only a quote at the beginning of a value opens one. When it stays open for longer than a row may be, the line it opened
on is refused by its number, and the lines after it are read again as rows of their own: a forgotten quote costs a line,
not the upload. Lines that did not close a value cannot open one, so nothing is read a third time.

Source: RFC 4180, section 2.
"""

import re
from collections.abc import Iterator, Sequence

from commands.api.bulk.cut import Bad
from commands.api.bulk.lines import TOO_LONG, Splitter
from commands.api.validation import Fault

QUOTED = re.compile(rb'[^"]*(?:""[^"]*)*')
LONGEST_ROW = 64 * 1024
"""Bytes of a row of several lines; a field has a few hundred characters at most."""


class Rows:
    """Cuts chunks into numbered rows; a row has the number of its first line.

    Attributes:
        offset: bytes up to which every row has come out.
        number: of the last line of the last row.
    """

    def __init__(self, limit_bytes: int, *, offset: int = 0, number: int = 0) -> None:
        self.offset = offset
        self.number = number
        self._splitter = Splitter(limit_bytes, offset=offset, number=number, whole=True)
        self._longest = min(limit_bytes, LONGEST_ROW)
        self._open: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[tuple[int, bytes | Bad]]:
        """The rows that end in this chunk; empty ones are left out."""
        for number, line in self._splitter.feed(chunk):
            yield from self._line(number, line)

    def end(self) -> Iterator[tuple[int, bytes | Bad]]:
        """The last row, and those that a quote kept open."""
        for number, line in self._splitter.end():
            yield from self._line(number, line)
        yield from self._given_up(self._splitter.number)

    def _line(self, number: int, line: bytes | None) -> Iterator[tuple[int, bytes | Bad]]:
        if line is None:
            yield from self._given_up(number - 1)
            yield number, TOO_LONG
        elif self._open or b'"' in line:
            yield from self._quoted(number, line)
        elif line.strip():
            yield number, line
        if not self._open:
            self.number, self.offset = number, self._splitter.offset

    def _quoted(self, number: int, line: bytes) -> Iterator[tuple[int, bytes | Bad]]:
        is_open = stays_open(line, bool(self._open))
        self._open.append(line)
        self._size += len(line) + 1
        if not is_open:
            row = b"\n".join(self._open)
            first = number - len(self._open) + 1
            self._open, self._size = [], 0
            yield first, row
        elif self._size > self._longest:
            yield from self._given_up(number)

    def _given_up(self, last: int) -> Iterator[tuple[int, bytes | Bad]]:
        lines, self._open, self._size = self._open, [], 0
        yield from _apart(last - len(lines) + 1, lines)


def _apart(first: int, lines: Sequence[bytes]) -> Iterator[tuple[int, bytes | Bad]]:
    for number, line in enumerate(lines, first):
        if number == first:
            detail = f"has a quote that opens on line {first} and is not closed within {LONGEST_ROW} bytes"
            yield number, Bad("unclosed_quote", Fault(detail))
        elif line.strip():
            yield number, line


def stays_open(line: bytes, is_open: bool) -> bool:
    """Whether a quoted value goes on after this line.

    Args:
        is_open: whether one goes on from the line before.
    """
    at = 0
    while True:
        if is_open or line.startswith(b'"', at):
            inside = QUOTED.match(line, at if is_open else at + 1)
            assert inside is not None  # it matches the empty string
            if inside.end() == len(line):
                return True
            at, is_open = inside.end() + 1, False
        comma = line.find(b",", at)
        if comma < 0:
            return False
        at = comma + 1
