"""What a verification found, in words that name the place."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from infra.audit.leaf import Leaves

Kind = Literal[
    "changed",
    "missing",
    "inserted",
    "damaged",
    "altered",
    "cut",
    "unchecked",
    "unreadable",
    "unnamed",
    "broken",
    "forged",
    "unknown_key",
    "foreign",
    "uncovered",
    "unheld",
]
"""changed, missing, inserted: a record. damaged: a batch that does not match its own check sum. altered: a file of the
archive that is not the one its manifest names. cut: the log ends before what was signed. unchecked: neither Kafka nor
the archive has what was signed. unreadable: the broker does not give it. unnamed: a range is not what was signed, and
its leaf hashes are lost. broken, forged, unknown_key, foreign: on `audit`. uncovered: a gap
between two checkpoints. unheld: a checkpoint that somebody kept is not in the chain."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was signed.

    Attributes:
        log: topic/partition.
        first: offset, on the partition; on `audit` for what is wrong there.
        last: the last offset it is about.
    """

    kind: Kind
    log: str
    first: int
    last: int
    detail: str

    def __str__(self) -> str:
        place = f"{self.log}/{self.first}" + (f"..{self.last}" if self.last > self.first else "")
        return f"{place}: {self.kind}, {self.detail}"


def differences(then: Leaves, now: Leaves) -> Iterator[tuple[Kind, int]]:
    """What happened to the records of a range, in the order of their offsets.

    Args:
        then: as signed.
        now: as the log has them; an offset may come twice there.
    """
    signed = dict(zip(then.offsets, then.hashes, strict=True))
    found: dict[int, list[bytes]] = {}
    for offset, leaf in zip(now.offsets, now.hashes, strict=True):
        found.setdefault(offset, []).append(leaf)
    for offset in sorted(signed.keys() | found.keys()):
        yield from ((kind, offset) for kind in _kinds(signed.get(offset), found.get(offset, [])))


def _kinds(signed: bytes | None, found: Sequence[bytes]) -> list[Kind]:
    if signed is None:
        return ["inserted"]
    if not found:
        return ["missing"]
    changed: list[Kind] = [] if signed in found else ["changed"]
    return [*changed, "inserted"] if len(found) > 1 else changed
