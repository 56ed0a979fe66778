"""How often items were met in closed pieces of the log, kept once they have been counted.

A piece is kept with the id of its last event: one that was counted on another log is not used but counted again.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import orjson
from numpy.typing import NDArray

from inference.counting.kept import Kept
from infra.settings import Settings

SIZE = 16_384
"""Offsets of a piece: what is left over at the end of a partition has to be counted each time."""


@dataclass(frozen=True, eq=False)
class Piece:
    """What was counted in `SIZE` consecutive offsets of a partition.

    Attributes:
        counts: interactions by item.
        chosen: hashes of the ids that clients chose and that came here for the first time.
        last: offset and id of the last event; None where there is none.
    """

    counts: Mapping[str, int]
    chosen: NDArray[np.uint64]
    last: tuple[int, str] | None

    def dump(self) -> bytes:
        """As it is kept."""
        chosen = b64encode(np.ascontiguousarray(self.chosen, "<u8").tobytes()).decode()
        return orjson.dumps({"counts": self.counts, "chosen": chosen, "last": self.last})

    @classmethod
    def parse(cls, content: bytes) -> "Piece":
        """The inverse of `dump`.

        Raises:
            ValueError, KeyError: it is none of ours.
        """
        fields = orjson.loads(content)
        last = None if fields["last"] is None else (int(fields["last"][0]), str(fields["last"][1]))
        return cls(fields["counts"], np.frombuffer(b64decode(fields["chosen"]), "<u8"), last)


class Pieces:
    """The kept pieces of the topic `interactions`. Its methods block; call them in a thread."""

    def __init__(self, settings: Settings) -> None:
        self._kept = Kept(settings, "counts", ".json")

    def get(self, partition: int, first: int, end: int) -> list[Piece]:
        """The pieces from number `first` to before `end`, up to the first that is missing or damaged."""
        found: list[Piece] = []
        for number in range(first, end):
            content = self._kept.get(str(partition), number)
            if content is None:
                break
            try:
                found.append(Piece.parse(content))
            except (ValueError, KeyError):
                break
        return found

    def put(self, partition: int, number: int, piece: Piece) -> None:
        """Keep a piece; where that is not possible it is counted again another time."""
        self._kept.put(str(partition), number, piece.dump())
