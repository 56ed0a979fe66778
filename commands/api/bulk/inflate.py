"""A body as it was before it was compressed, piece by piece: what is small on the wire may be huge behind it."""

import zlib
from collections.abc import Iterator
from typing import Any

from backports import zstd

from schemas.errors import Malformed, TooLarge, Unsupported

PIECE = 256 * 1024
BOMB_RATIO = 250
BOMB_BYTES = 16 * 1024 * 1024
"""From this size on more than `BOMB_RATIO` bytes out of one is no data of anybody's: lines compress 5 to 50 times."""

IDENTITY = ("", "identity")
KNOWN = ("gzip", "x-gzip", "zstd")


class Inflate:
    """Undoes one Content-Encoding; several members or frames after one another are one body.

    Args:
        encoding: `gzip` or `zstd`.

    Raises:
        Unsupported: another encoding.
    """

    def __init__(self, encoding: str) -> None:
        if encoding not in KNOWN:
            raise Unsupported(f"send Content-Encoding: gzip, zstd or none, not '{encoding[:50]}'")
        self._encoding = encoding
        self._decoder: Any = None
        self._taken = self._given = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Pieces of at most `PIECE` bytes.

        Raises:
            Malformed: it is not compressed in this way.
            TooLarge: a decompression bomb.
        """
        self._taken += len(data)
        while data or self._has_more:
            if self._decoder is None or self._decoder.eof:
                self._decoder = self._new()
            piece = self._piece(data)
            data = self._left()
            self._weigh(len(piece))
            if piece:
                yield piece
            elif not data:
                return

    def end(self) -> None:
        """Nothing follows.

        Raises:
            Malformed: something should.
        """
        if self._decoder is not None and not self._decoder.eof:
            raise Malformed(f"the {self._encoding} body ends too early: send it again", code="bad_encoding")

    @property
    def _has_more(self) -> bool:
        return isinstance(self._decoder, zstd.ZstdDecompressor) and not (self._decoder.needs_input or self._decoder.eof)

    def _new(self) -> Any:
        return zstd.ZstdDecompressor() if self._encoding == "zstd" else zlib.decompressobj(wbits=31)

    def _piece(self, data: bytes) -> bytes:
        try:
            return bytes(self._decoder.decompress(data, PIECE))
        except (zlib.error, zstd.ZstdError) as fault:
            raise Malformed(f"the body is no {self._encoding}: {fault}", code="bad_encoding") from None

    def _left(self) -> bytes:
        """What the decoder has not looked at yet."""
        return bytes(self._decoder.unused_data or getattr(self._decoder, "unconsumed_tail", b""))

    def _weigh(self, size: int) -> None:
        self._given += size
        if self._given > BOMB_BYTES and self._given > BOMB_RATIO * self._taken:
            raise TooLarge(
                f"{self._taken} bytes became {self._given}: this looks like a decompression bomb; send it uncompressed",
                code="decompression_bomb",
            )
