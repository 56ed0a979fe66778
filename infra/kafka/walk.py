"""The fields of many records at once, found by walking all of them side by side.

Every record begins with its length, so their beginnings are followed one by one; everything else is arithmetic on whole
arrays, a step for each field. It must all fit together in the end: each record's fields have to fill exactly the length
that it states, from the first byte of the batches to the last.

Source: Kafka protocol guide, Record (format 2).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from infra.kafka.container import text
from infra.kafka.varint import Numbers, Octets, lengths, numbers, varint
from schemas.errors import Incompatible

Spans: TypeAlias = tuple[Numbers, Numbers]
"""Where something begins in each record, and how long it is."""

WASTE = 4
"""Texts are cut out as a rectangle when that is at most so many times as large as they are."""


@dataclass(frozen=True)
class Walked:
    """What was found; one entry for each record.

    Attributes:
        stamps: milliseconds after the batch's first time stamp.
        offsets: behind the batch's base offset.
        spans: of `key`, `value` and each header that was asked for.
    """

    octets: Octets
    stamps: Numbers
    offsets: Numbers
    spans: Mapping[str, Spans]

    def binary(self, name: str) -> pl.Series:
        """Bytes of each record."""
        return pl.Series(name, self._array(name, pa.large_binary()), dtype=pl.Binary)

    def text(self, name: str) -> pl.Series:
        """A text of each record.

        Raises:
            Incompatible: it is none.
        """
        array = self._array(name, pa.large_string())
        try:
            array.validate(full=True)
        except pa.ArrowInvalid as fault:
            raise Incompatible(f"{name} is no text: {fault}", code="bad_headers") from fault
        return pl.Series(name, array, dtype=pl.String)

    def _array(self, name: str, kind: Any) -> Any:
        at, sizes = self.spans[name]
        ends = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
        return pa.Array.from_buffers(kind, len(at), [None, pa.py_buffer(ends), pa.py_buffer(self._cut(at, sizes))])

    def _cut(self, at: Numbers, sizes: Numbers) -> Any:
        """The bytes of all spans, one behind another."""
        longest = int(sizes.max(initial=0))
        if longest == 0:
            return b""
        if longest * len(at) > WASTE * int(sizes.sum()) or longest > len(self.octets):
            data = self.octets.data
            return b"".join(
                [data[first : first + size] for first, size in zip(at.tolist(), sizes.tolist(), strict=True)]
            )
        last = len(self.octets) - longest
        rows = _pieces(self.octets, longest)[np.minimum(at, last)]
        if (sizes == longest).all():
            return rows
        octets = rows.view(np.uint8).reshape(len(at), longest)
        shift = at - np.minimum(at, last)  # of spans so near the end that their window begins before them
        places = np.arange(longest)
        return octets[(places >= shift[:, None]) & (places < (shift + sizes)[:, None])]


def walk(data: bytes, count: int, headers: Sequence[tuple[str, bytes | None]], wanted: Sequence[str]) -> Walked:
    """The places of `key`, `value` and the wanted headers in `count` records that stand one behind another.

    Args:
        headers: those of every record, in order: names, and the value where it has to be the same in all.
        wanted: names among them whose value varies.

    Raises:
        Incompatible: the records carry other headers, or one has no key or value.
    """
    octets = np.frombuffer(data, np.uint8)
    try:
        heads, ends = lengths(data, count)
        if not count or ends[-1] != len(data):
            raise _mixed()
        stamps, at = numbers(octets, heads + 1)  # behind the attributes, which this format does not use
        offsets, at = numbers(octets, at)
        spans: dict[str, Spans] = {}
        for name in ("key", "value"):
            at = _behind_one(octets, at, spans, name)
        for guard, header in _guards(headers):
            at = _behind(octets, at, guard)
            if header is not None:
                at = _behind_one(octets, at, spans, header)
    except IndexError as fault:
        raise _mixed() from fault
    if not np.array_equal(at, ends):
        raise _mixed()
    return Walked(octets, stamps, offsets, {name: spans[name] for name in ("key", "value", *wanted)})


def _guards(headers: Sequence[tuple[str, bytes | None]]) -> list[tuple[bytes, str | None]]:
    """The bytes that are the same in every record, each with the header whose value follows; None behind the last."""
    found: list[tuple[bytes, str | None]] = []
    held = varint(len(headers))
    for name, value in headers:
        held += text(name.encode())
        if value is None:
            found.append((held, name))
            held = b""
        else:
            held += text(value)
    return [*found, (held, None)] if held else found


def _behind_one(octets: Octets, at: Numbers, spans: dict[str, Spans], name: str) -> Numbers:
    """The places behind a text, which has to be there in every record; where it stands goes into `spans`."""
    sizes, at = numbers(octets, at)
    if int(sizes.min()) < 0 or int((at + sizes).max()) > len(octets):
        raise _mixed()
    spans[name] = at, sizes
    return at + sizes


def _behind(octets: Octets, at: Numbers, guard: bytes) -> Numbers:
    """The places behind these bytes, which have to stand at every place."""
    if int(at.max()) + len(guard) > len(octets):
        raise _mixed()
    if _pieces(octets, len(guard))[at].tobytes() != guard * len(at):
        raise _mixed()
    return at + len(guard)


def _pieces(octets: Octets, size: int) -> npt.NDArray[np.void]:
    """The `size` bytes from each place on, copied only where they are taken."""
    kind = np.dtype((np.void, size))
    return np.ndarray((len(octets) - size + 1,), kind, octets, strides=(1,))


def _mixed() -> Incompatible:
    return Incompatible("the records carry different headers", code="mixed_headers")
