"""What a query asks of PostgreSQL: named parts, answered in one round trip from one snapshot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import orjson

from schemas.position import Position

Reached: TypeAlias = Mapping[tuple[str, int], int]
"""Next offset by topic and partition; of several views, the one that is furthest behind."""

REACHED = """
    (SELECT string_agg(topic || '/' || partition || '/' || next_offset, ',' ORDER BY topic, partition) FROM (
        SELECT topic, partition, min(next_offset) AS next_offset FROM projection_offsets o
        JOIN unnest({views}, {versions}) AS wanted(view, version) ON o.view = wanted.view
            AND o.version = coalesce(obj_description(to_regclass(wanted.view), 'pg_class')::int, wanted.version)
        GROUP BY topic, partition
    ) folded)
"""
"""Checkpoints of the versions that are shown, as one text."""

REACHED_NOW = ("SELECT" + REACHED.format(views="%(views)s::text[]", versions="%(versions)s::int[]")).encode()


@dataclass(frozen=True, eq=False)
class Question:
    """One query of the API.

    Attributes:
        views: read models that it asks.
        parts: by name, a SELECT over those views; values are written `%(name)s`.
        key: name of the value that is the record key of every event the answer depends on; None when there are several
            such keys.
    """

    views: tuple[str, ...]
    parts: Mapping[str, str]
    key: str | None = None

    def live(self, versions: Mapping[str, int]) -> str:
        """The statement over the read models; its first column says how far they have been folded."""
        names = ", ".join(f"'{view}'" for view in self.views)
        numbers = ", ".join(str(versions[view]) for view in self.views)
        return f"SELECT {REACHED.format(views=f'ARRAY[{names}]', versions=f'ARRAY[{numbers}]')}, {self.still}"

    @property
    def still(self) -> str:
        """The columns of the parts: each a JSON array of rows, or null where there are none."""
        # As text, so that a prepared plan outlives a view that gets other columns.
        return ", ".join(f"(SELECT json_agg(found) FROM ({part}) found)::text" for part in self.parts.values())


@dataclass(frozen=True, slots=True)
class Answer:
    """What the read models say.

    Attributes:
        reached: what it speaks for.
        position: the same, as header `x-position` has it.
        parts: by name, a JSON array of rows; None where there are none.
    """

    reached: Reached
    position: str
    parts: Mapping[str, str | None]

    def rows(self, part: str) -> list[dict[str, Any]]:
        """The rows of a part."""
        text = self.parts[part]
        return orjson.loads(text) if text is not None else []

    def row(self, part: str) -> dict[str, Any] | None:
        """The first row of a part."""
        rows = self.rows(part)
        return rows[0] if rows else None

    def document(self, part: str) -> bytes | None:
        """The only row of a part, as JSON."""
        text = self.parts[part]
        return None if text is None else text[1:-1].encode()


@lru_cache(maxsize=256)
def told(text: str | None) -> tuple[Reached, str]:
    """What a statement says of how far it has been folded, and the same as header `x-position` has it."""
    positions = [Position.parse(part) for part in text.split(",")] if text else []
    reached = {(one.topic, one.partition): one.offset for one in positions}
    return reached, position_header(reached)


def position_header(reached: Reached) -> str:
    """The last positions that have been folded, with commas between."""
    return ",".join(str(Position(topic, p, offset - 1)) for (topic, p), offset in reached.items() if offset > 0)


def missing_in(positions: Sequence[Position], reached: Reached) -> dict[Position, int]:
    """Records between what was folded and each position that has not been."""
    behind = {one: one.offset + 1 - reached.get((one.topic, one.partition), 0) for one in positions}
    return {position: missing for position, missing in behind.items() if missing > 0}
