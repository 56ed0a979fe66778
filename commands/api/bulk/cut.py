"""What every form of upload is cut into: numbered lines, each either fields or a fault."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, TypeAlias

from commands.api.validation import Fault


class Bad(NamedTuple):
    """A line that cannot be read."""

    code: str
    fault: Fault


Cut: TypeAlias = tuple[int, dict[str, Any] | Bad]
"""Number of a line, and what it says."""


class Start(NamedTuple):
    """Where an upload goes on.

    Attributes:
        size_bytes: of the content that has been dealt with.
        number: lines, or records of an Avro file, that have been dealt with.
        preamble: header of the CSV or Avro file, when it has been read.
    """

    size_bytes: int = 0
    number: int = 0
    preamble: bytes = b""


class Cutter(Protocol):
    """Cuts chunks into lines with bounded memory."""

    @property
    def offset(self) -> int:
        """Bytes of the content up to which every line has come out."""

    @property
    def number(self) -> int:
        """Of the last line that came out."""

    @property
    def preamble(self) -> bytes:
        """Header of the file; empty when there is none, or it has not come yet."""

    def feed(self, chunk: bytes) -> Iterator[Cut]:
        """The lines that end in this chunk.

        Raises:
            Invalid: nothing of the rest can be read.
        """

    def end(self) -> Iterator[Cut]:
        """What was still open at the end of the content.

        Raises:
            Invalid: the content ends where it may not.
        """
