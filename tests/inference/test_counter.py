"""The role `counter` on the real servers: fresh counts, an answer without any training, and the answer made again."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from inference.counting.gists import Gists
from inference.counting.worker import counted_so_far
from infra.ending import ended
from infra.kafka.ranges import ranges_now
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.catalog import AddItem
from schemas.profiles import EraseUser, RegisterUser, WithdrawConsent

from ..eventually import eventually
from .test_explain import explained
from .town import Town, open_town


@pytest.fixture
async def town(settings: Settings) -> AsyncIterator[Town]:
    """People who went from one film to the next; no model was ever trained."""
    async with open_town(settings) as town:
        for number in range(6):
            await town.send(AddItem(item_id=f"i{number}", title=f"Film {number}", categories=("film",)))
        await town.interact("ana", "i0", "i1", "i2")
        await town.interact("bo", "i0", "i1", "i3")
        await town.start("counter", "serving")
        yield town


def items(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


async def test_an_answer_without_any_training(town: Town) -> None:
    """What follows what is known as soon as anybody has met anything; the record names how far it was counted."""
    await town.interact("cy", "i0")
    answer = await town.answers("cy", lambda a: a["source"] == "co_occurrence")
    assert answer["fallback_reason"] == "no_model"
    assert items(answer) == ["i1", "i2", "i3"]
    counted = [p["position"] for p in answer["as_of"] if p["view"] == "co_occurrence"]
    assert {position.split("/")[0] for position in counted} == {"interactions", "profiles"}

    told = await explained(town, answer["decision_id"])
    assert told.identical, told.differences
    assert told.decision.source == "co_occurrence"
    assert [reason.item_id for reason in told.remade.reasons["i1"]] == ["i0"]  # type: ignore[union-attr]


async def test_what_others_do_counts_within_a_second(town: Town) -> None:
    """The counts are kept live: somebody else's next step changes the next answer."""
    await town.interact("cy", "i0")
    await town.answers("cy", lambda a: a["source"] == "co_occurrence")
    took: list[float] = []
    while min(took, default=1) >= 1 and len(took) < 5:  # a busy machine is given another try
        new = f"new{len(took)}"
        await town.interact("dee", "i0", new)
        began = time.monotonic()
        answer = await town.answers("cy", lambda a: new in items(a))  # noqa: B023
        took.append(time.monotonic() - began)
        told = await explained(town, answer["decision_id"])
        assert told.identical, told.differences
    assert min(took) < 1, took


async def test_who_withdraws_consent_is_not_counted_any_more(town: Town) -> None:
    """Neither are the erased; and what was answered before is made again with what was known then."""
    await town.interact("cy", "i0")
    before = await town.answers("cy", lambda a: a["source"] == "co_occurrence")
    assert "i3" in items(before)
    await town.send(RegisterUser(user_id="bo"))
    await town.send(WithdrawConsent(user_id="bo", purpose="training"))
    after = await town.answers("cy", lambda a: "i3" not in items(a))
    assert items(after) == ["i1", "i2"]
    await town.send(EraseUser(user_id="ana", reason="asked"))
    nothing = await town.answers("cy", lambda a: a["source"] == "popular_in_category")
    for answer in (before, after, nothing):
        told = await explained(town, answer["decision_id"])
        assert told.identical, told.differences


async def test_a_new_start_counts_the_same(town: Town) -> None:
    """Nothing is kept but the log: after a restart the table holds what a count from scratch gives."""
    await town.stop("counter")
    await town.interact("eve", "i5", "i4", "i3")
    await town.start("counter")

    async def reached() -> bool:
        row = await town.row(
            "SELECT sum(next_offset)::int AS n FROM co_occurrence_offsets WHERE topic = 'interactions'"
        )
        return bool(row and row["n"] == 9)

    await eventually(reached)
    ranges = await ranges_now(town.settings, {"interactions", "profiles"})
    fold, _ = await counted_so_far(Gists(town.settings, await open_decoder(town.settings)), ranges)
    for item in ("i0", "i1", "i5", "i4"):
        row = await town.row("SELECT others, counts FROM co_occurrence WHERE item_id = %s", item)
        assert row is not None
        assert dict(zip(row["others"], row["counts"], strict=True)) == fold.row(item)


async def test_one_counts_and_another_stands_by(town: Town) -> None:
    """Two workers would overwrite each other's rows; the second takes over when the first is gone."""
    first = town.running.pop("counter")
    await town.start("counter")
    await ended(first)
    await town.interact("fay", "i2", "i5")
    await town.interact("gil", "i2")
    answer = await town.answers("gil", lambda a: a["source"] == "co_occurrence" and "i5" in items(a))
    assert answer["fallback_reason"] == "no_model"
