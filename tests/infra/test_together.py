"""Several things at once, and what becomes of them when one fails."""

import asyncio

import pytest

from infra.together import together


async def test_all_have_ended_before_a_fault_is_told() -> None:
    """Whoever tries again after a fault must not meet what is still under way."""
    done: list[str] = []

    async def slow() -> None:
        await asyncio.sleep(0.05)
        done.append("slow")

    async def fails() -> None:
        raise KeyError("gone")

    with pytest.raises(KeyError):
        await together(slow(), fails(), slow())
    assert done == ["slow", "slow"]


async def test_answers_come_in_the_order_of_the_questions() -> None:
    """Not in that in which they were answered."""
    assert await together(asyncio.sleep(0.02, 1), asyncio.sleep(0, 2)) == [1, 2]
    assert await together() == []
