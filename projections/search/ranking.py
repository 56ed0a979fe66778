"""A ranking as a cursor carries it: the places that are still to come.

Scores move with every write, and a fused ranking has none to go on from. So the ranking is made once, for the first
page, and the cursor takes the rest of it along: no item comes twice or is passed over, and no server keeps anything.
"""

from base64 import b85decode, b85encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from schemas.errors import Invalid

LONGEST = 200
"""Items of a ranking; who wants more of them narrows the search down."""


@dataclass(frozen=True, slots=True)
class Rest:
    """What is left of a ranking.

    Attributes:
        first: rank of its first item, from 1.
        places: `partition/offset` of each item's first event, best first.
    """

    first: int
    places: Sequence[str]

    def split(self, limit: int) -> tuple[Sequence[str], "Rest | None"]:
        """The next page, and what is left after it."""
        page, left = self.places[:limit], self.places[limit:]
        return page, Rest(self.first + len(page), left) if left else None


def packed(places: Sequence[str]) -> str:
    """Places in a few letters each."""
    numbers = (int(number) for place in places for number in place.split("/"))
    return b85encode(b"".join(_varint(number) for number in numbers)).decode()


def unpacked(text: str) -> list[str]:
    """Places again.

    Raises:
        Invalid: these are none.
    """
    try:
        numbers = list(_numbers(b85decode(text)))
        return [f"{p}/{offset}" for p, offset in zip(numbers[::2], numbers[1::2], strict=True)]
    except ValueError as fault:
        raise Invalid(
            "the cursor is damaged: give `next` of an answer as it stands there", code="bad_cursor"
        ) from fault


def _varint(number: int) -> bytes:
    """Seven bits a byte, lowest first; the eighth says that more follow."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def _numbers(content: bytes) -> Iterator[int]:
    number, shift = 0, 0
    for byte in content:
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            yield number
            number, shift = 0, 0
    if shift:
        raise ValueError("cut off")
