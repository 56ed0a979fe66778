"""What a request about dead letters would mean, before anybody asks for it."""

from collections.abc import Mapping
from typing import Any

from projections.readmodels import ReadModels
from schemas.errors import Invalid, NotFound
from schemas.position import Position

ONE_OF = ("position", "key", "code", "all")

PARKED = """
    SELECT head.key, head.code, head.cause, count(w.*) AS waiting
    FROM projection_parked head LEFT JOIN projection_parked w ON w.role = 'waiting'
        AND (w.view, w.version, w.topic, w.partition, w.key)
            = (head.view, head.version, head.topic, head.partition, head.key)
    WHERE head.view = %(view)s AND head.version = %(version)s AND head.role = 'poison'
        AND (%(all)s::bool OR head.key = %(key)s OR head.code = %(code)s
            OR concat_ws('/', head.topic, head.partition, head."offset") = %(position)s)
    GROUP BY head.view, head.version, head.topic, head.partition, head."offset"
    ORDER BY head.topic, head.partition, head."offset"
"""
KEYS_SHOWN = 100


async def selected(models: ReadModels, view: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """How many records that stand aside are meant, by cause and key.

    Args:
        chosen: by name of `ONE_OF`; exactly one says something.

    Raises:
        Invalid: none or several say something, or the position is none.
        NotFound: there is no such read model; of other readers nothing can be tried again.
        Unavailable: PostgreSQL is away.
    """
    said = {name: value for name, value in chosen.items() if value is not None}
    if len(said) != 1:
        raise Invalid(
            f"give exactly one of {', '.join(ONE_OF)}, not {' and '.join(said) or 'none'}", code="bad_selection"
        )
    if chosen["position"] is not None:
        Position.parse(chosen["position"])
    projection = models.projections.get(view)
    if projection is None:
        raise unknown(view, models)
    async with models.connection() as connection:
        values = {"view": view, "version": projection.version, **chosen, "all": bool(chosen["all"])}
        rows = await (await connection.execute(PARKED, values)).fetchall()
    ((name, value),) = said.items()
    return {
        "view": view,
        "version": projection.version,
        "selection": "all" if name == "all" else f"{name} {value}",
        "poison": len(rows),
        "waiting": sum(row["waiting"] for row in rows),
        "causes": _causes(rows),
        "keys": [{**row, "poison": 1} for row in rows[:KEYS_SHOWN]],
    }


def _causes(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        at = row["code"], row["cause"]
        cause = found.setdefault(at, {"code": at[0], "cause": at[1], "poison": 0, "waiting": 0})
        cause["poison"] += 1
        cause["waiting"] += row["waiting"]
    return sorted(found.values(), key=lambda cause: -int(cause["poison"]))


def unknown(view: str, models: ReadModels) -> NotFound:
    """Nobody of that name keeps anything aside."""
    return NotFound(
        f"there is no read model '{view}', and nothing of other readers can be tried again or left out: they have gone "
        f"on without what they gave up. There are {', '.join(models.projections)}",
        code="unknown_projection",
    )
