"""The bytes of an Avro container: numbers, maps, and blocks unpacked within limits.

Source: Avro 1.12 specification, Binary Encoding and Required/Optional Codecs.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import cramjam
from backports import zstd

from schemas.errors import TooLarge

SYNC_SIZE = 16
LONGEST_HEADER = 1024 * 1024
LONGEST_BLOCK = 16 * 1024 * 1024
"""As it comes, and unpacked: the memory that an upload needs. Writers make blocks of 16 KiB to 4 MiB."""
UNREADABLE = (zlib.error, lzma.LZMAError, zstd.ZstdError, cramjam.DecompressionError, OSError, ValueError, EOFError)


class Damaged(Exception):
    """The bytes are not what the specification says."""


class Short(Exception):
    """There are not enough bytes yet.

    Args:
        needed: so many, at least.
    """

    def __init__(self, needed: int) -> None:
        super().__init__(needed)
        self.needed = needed


class Source:
    """Reads from the beginning of a buffer.

    Args:
        name: what is read, for people.
        limit_bytes: how long it may be.

    Attributes:
        at: bytes that have been read.

    Raises from every call:
        Short: the buffer ends.
        Damaged: a number cannot be one.
        TooLarge: it is over the limit.
    """

    def __init__(self, buffer: bytearray, name: str, limit_bytes: int) -> None:
        self.at = 0
        self._buffer = buffer
        self._name = name
        self._limit = limit_bytes

    def take(self, size: int) -> bytes:
        """So many bytes."""
        end = self.at + size
        if size < 0:
            raise Damaged("it has a negative length")
        if end > self._limit + 64:
            raise _too_large(self._name, self._limit)
        if end > len(self._buffer):
            raise Short(end)
        taken, self.at = bytes(self._buffer[self.at : end]), end
        return taken

    def number(self) -> int:
        """A whole number that is not negative."""
        if (value := self._long()) < 0:
            raise Damaged("it has a negative count or length")
        return value

    def map(self) -> dict[str, bytes]:
        """A map of bytes."""
        entries: dict[str, bytes] = {}
        while count := self._long():
            if count < 0:
                self._long()  # its size in bytes, for those who skip it
            for _ in range(abs(count)):
                name = self.take(self.number()).decode(errors="replace")
                entries[name] = self.take(self.number())
        return entries

    def _long(self) -> int:
        raw = shift = 0
        while True:
            byte = self.take(1)[0]
            raw |= (byte & 0x7F) << shift
            if byte < 0x80:
                return (raw >> 1) ^ -(raw & 1)
            shift += 7
            if shift > 63:
                raise Damaged("a number has more than 64 bits")


def unpacked(codec: str, data: bytes) -> bytes:
    """The content of a block.

    Raises:
        Damaged: it is not compressed in this way, or its checksum is another one.
        TooLarge: it is over the limit; no more than the limit is unpacked to find out.
    """
    try:
        return CODECS[codec](data)
    except (
        zlib.error,
        lzma.LZMAError,
        zstd.ZstdError,
        cramjam.DecompressionError,
        OSError,
        ValueError,
        EOFError,
    ) as fault:
        raise Damaged(f"it is no {codec}: {fault}") from None


def _snappy(data: bytes) -> bytes:
    packed, checksum = data[:-4], data[-4:]
    if cramjam.snappy.decompress_raw_len(packed) > LONGEST_BLOCK:
        raise _too_large("an unpacked block", LONGEST_BLOCK)
    content = bytes(cramjam.snappy.decompress_raw(packed))
    if zlib.crc32(content).to_bytes(4) != checksum:
        raise Damaged("its checksum is another one")
    return content


def _streamed(make: Callable[[], Any]) -> Callable[[bytes], bytes]:
    def unpack(data: bytes) -> bytes:
        decoder = make()
        content: bytes = decoder.decompress(data, LONGEST_BLOCK + 1)
        if len(content) > LONGEST_BLOCK:
            raise _too_large("an unpacked block", LONGEST_BLOCK)
        if not decoder.eof:
            raise Damaged("it ends too early")
        return content

    return unpack


def _too_large(what: str, limit: int) -> TooLarge:
    return TooLarge(f"{what} is over {limit} bytes: write the file with smaller blocks", code="block_too_large")


CODECS: Mapping[str, Callable[[bytes], bytes]] = {
    "null": bytes,
    "deflate": _streamed(lambda: zlib.decompressobj(wbits=-15)),
    "snappy": _snappy,
    "zstandard": _streamed(zstd.ZstdDecompressor),
    "bzip2": _streamed(bz2.BZ2Decompressor),
    "xz": _streamed(lzma.LZMADecompressor),
}
