"""What a query that comes too early is told, when others have just been told the same."""

import pytest

from infra.settings import Settings
from projections.behind import Behind, Lags
from projections.question import Reached
from projections.watch import Lag
from schemas.errors import Invalid, TimedOut
from schemas.position import Position

AT = ("interactions", 0)


def before(reached: Reached, end: int) -> Lags:
    """How far behind it is, when the log ends there."""
    return {AT: Lag(AT[0], AT[1], reached[AT], end - reached[AT], 0.0)}


async def test_a_position_that_was_just_written_is_not_past_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever got it from us would be told not to ask again."""
    behind, ends = Behind(Settings()), iter([100, 101])

    async def measured(reached: Reached) -> Lags:
        return before(reached, next(ends))

    monkeypatch.setattr(behind, "_measured", measured)
    reached: Reached = {AT: 90}
    first = await behind.problem("history", [Position(*AT, 99)], reached, 0)
    assert isinstance(first, TimedOut)
    second = await behind.problem("history", [Position(*AT, 100)], reached, 0)
    assert isinstance(second, TimedOut), second.detail


async def test_those_who_have_waited_are_served_by_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many queries are late at once."""
    behind, looks = Behind(Settings()), 0

    async def measured(reached: Reached) -> Lags:
        nonlocal looks
        looks += 1
        return before(reached, 100)

    monkeypatch.setattr(behind, "_measured", measured)
    for offset in (95, 96, 97):
        await behind.problem("history", [Position(*AT, offset)], {AT: 90}, 30)
    assert looks == 1
    assert isinstance(await behind.problem("history", [Position(*AT, 100)], {AT: 90}, 30), Invalid)
