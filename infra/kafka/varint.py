"""Whole numbers as Avro and Kafka write them: zigzag, seven bits a byte, the least significant first.

Source: Kafka protocol guide, Record (format 2); Avro specification, Binary Encoding.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Numbers: TypeAlias = npt.NDArray[np.int64]
Octets: TypeAlias = npt.NDArray[np.uint8]


def varint(number: int) -> bytes:
    """A number as bytes."""
    rest = (number << 1) ^ (number >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def number(data: bytes, at: int) -> tuple[int, int]:
    """The number at a place, and the place behind it.

    Raises:
        IndexError: it has no end.
    """
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at
        shift += 7


def numbers(octets: Octets, at: Numbers) -> tuple[Numbers, Numbers]:
    """The numbers at these places, and the places behind them.

    Raises:
        IndexError: one has no end, or more than 64 bits.
    """
    byte = octets[at]
    values, more, shift, at = byte.astype(np.int64), byte >= 0x80, 7, at + 1
    if more.any():
        values &= 0x7F
        while more.any():
            if shift > 63:
                raise IndexError(shift)
            byte = octets[np.where(more, at, 0)]
            values |= np.where(more, (byte.astype(np.int64) & 0x7F) << shift, 0)
            at = at + more
            more, shift = more & (byte >= 0x80), shift + 7
    return (values >> 1 & 0x7FFF_FFFF_FFFF_FFFF) ^ -(values & 1), at


def lengths(data: bytes, count: int) -> tuple[Numbers, Numbers]:
    """Where each of `count` texts that stand one after another begins, behind its length, and where it ends.

    Raises:
        IndexError: the bytes end before the texts do, or a length is below 0.
    """
    at, heads, ends = 0, list[int](), list[int]()
    for _ in range(count):
        size, at = data[at], at + 1
        if size >= 0x80:
            size, shift = size & 0x7F, 7
            while (byte := data[at]) >= 0x80:
                size |= (byte & 0x7F) << shift
                at, shift = at + 1, shift + 7
            size, at = size | byte << shift, at + 1
        if size & 1:
            raise IndexError(at)
        heads.append(at)
        at += size >> 1
        ends.append(at)
    if at > len(data):
        raise IndexError(at)
    return np.array(heads, np.int64), np.array(ends, np.int64)
