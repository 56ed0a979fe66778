"""What a replay is asked to write: the options that decide its bytes."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from infra.registry.enlist import topics_of
from schemas.contracts import contracts
from schemas.errors import Invalid
from schemas.models import OffsetRange


class Format(StrEnum):
    """What a replay can be written as."""

    parquet = "parquet"
    duckdb = "duckdb"
    arrow = "arrow"
    jsonl = "jsonl"

    @property
    def is_folder(self) -> bool:
        """Whether it is many files."""
        return self in (Format.parquet, Format.duckdb)


@dataclass(frozen=True)
class Asked:
    """The options as they were given.

    Attributes:
        first, end: bounds as text; None when left out.
        ranges: as text.
        types: full names; empty for all.
        keys: empty for all.
    """

    format: Format
    tenant: str
    topics: tuple[str, ...]
    first: str | None = None
    end: str | None = None
    ranges: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As it is kept, to be compared with what is asked later."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def full_names(names: Sequence[str]) -> tuple[str, ...]:
    """Types by their short or their full names.

    Raises:
        Invalid: there is none of that name.
    """
    known = {name: full for full, contract in contracts().items() for name in (contract.name, full)}
    if unknown := [name for name in names if name not in known]:
        raise Invalid(
            f"there is no event of type {', '.join(unknown)}: `retrace schemas` lists them", code="unknown_type"
        )
    return tuple(sorted({known[name] for name in names}))


def types_on(ranges: Iterable[OffsetRange], asked: Sequence[str]) -> tuple[str, ...]:
    """Types of events that can stand in these parts of the log, of those asked for; all when none is.

    Raises:
        Invalid: one that is asked for cannot stand there.
    """
    topics = {part.topic for part in ranges}
    there = {
        name for name, contract in contracts().items() if not contract.is_retired and topics & set(topics_of(contract))
    }
    if elsewhere := [name for name in asked if name not in there]:
        found = "; ".join(f"{name} stands on {', '.join(topics_of(contracts()[name]))}" for name in elsewhere)
        raise Invalid(f"{found}, not on {', '.join(sorted(topics))}: name its topic", code="type_elsewhere")
    return tuple(sorted(asked or there))
