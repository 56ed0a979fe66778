"""Recommendations over HTTP on the real servers: who gets what, from what, and what is on record."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from infra.settings import Settings
from infra.stack.stack import Stack
from schemas.catalog import RetireItem
from schemas.profiles import ChangePreferences, EraseUser, RegisterUser, WithdrawConsent

from ..eventually import eventually
from .logreader import read_topic
from .town import DATA, Town, open_town

USER, HISTORY = next((user, items) for user, items in DATA.histories().items() if 5 < len(set(items)) < 25)


@asynccontextmanager
async def busy(settings: Settings, **options: int) -> AsyncIterator[Town]:
    """A model is deployed, users have a history, and the service answers."""
    async with open_town(settings, **options) as town:
        await town.stock()
        await town.start("deployer", "serving")
        await town.deployed(1, town.artifact())
        await town.stocked()
        await town.answers(USER, by_model)
        yield town


@pytest.fixture
async def town(settings: Settings) -> AsyncIterator[Town]:
    async with busy(settings) as town:
        yield town


@pytest.fixture
async def impatient(settings: Settings) -> AsyncIterator[Town]:
    """It falls back after a second."""
    async with busy(settings, patience_ms=1000) as town:
        yield town


def by_model(answer: dict[str, Any]) -> bool:
    return bool(answer["source"] == "model" and answer["history_length"] == len(set(HISTORY)))


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


async def test_who_gets_what(town: Town) -> None:
    """A known user by the model, a new one what is popular, nobody an error page."""
    known = await town.recommend(USER, limit=5)
    assert (known["source"], known["version"], known["fallback_reason"]) == ("model", 1, None)
    assert not set(ids(known)) & set(HISTORY)
    assert len(known["items"]) == 5
    assert known["items"][0]["title"] == f"Film {ids(known)[0]}"

    unknown = await town.recommend("nobody")
    assert (unknown["source"], unknown["fallback_reason"]) == ("popular", "unknown_user")
    await town.send(RegisterUser(user_id="nora"))
    fresh = await town.answers("nora", lambda a: a["fallback_reason"] != "unknown_user")
    assert (fresh["source"], fresh["fallback_reason"]) == ("popular", "new_user")
    scores = [item["score"] for item in fresh["items"]]
    assert scores == sorted(scores, reverse=True)

    other = await town.recommend(USER, model="nothing")
    assert (other["source"], other["fallback_reason"]) == ("popular_in_category", "no_model")


async def test_nonsense_is_a_problem(town: Town) -> None:
    """What makes no sense is told by field, with 422."""
    for path in (
        "a/recommendations?limit=0",
        "a/recommendations?limit=101",
        "a/recommendations?limit=x",
        f"{'a' * 129}/recommendations",
        "a%00b/recommendations",
        "a/recommendations?model=A%20B",
    ):
        async with town.http.get(f"{town.settings.serving.url}/users/{path}") as response:
            problem = await response.json()
            assert (response.status, response.content_type) == (422, "application/problem+json"), path
            assert problem["errors"], path


async def test_an_interaction_counts_at_the_next_answer(town: Town) -> None:
    """Freshness: within a second the item just met is gone and the history is longer."""
    took: list[float] = []
    while min(took, default=1) >= 1 and len(took) < 5:  # a busy machine is given another try
        before = await town.recommend(USER)
        length, met = before["history_length"], ids(before)[0]
        await town.interact(USER, met)
        started = time.monotonic()
        after = await town.answers(USER, lambda a: a["history_length"] == length + 1)  # noqa: B023
        took.append(time.monotonic() - started)
        assert met not in ids(after)
        assert after["as_of"] != before["as_of"]
    assert min(took) < 1, took


async def test_what_may_not_be_shown_is_not_shown(town: Town) -> None:
    """Retired items and hidden categories, from the model and from the fallback alike."""
    retired = ids(await town.recommend(USER))[0]
    await town.send(RegisterUser(user_id=USER))
    await town.send(ChangePreferences(user_id=USER, hidden_categories=("even",)))
    await town.send(RetireItem(item_id=retired))
    answer = await town.answers(USER, lambda a: not any(int(i[1:]) % 2 == 0 for i in ids(a)) and retired not in ids(a))
    assert answer["source"] == "model"
    await town.answers("nobody", lambda a: retired not in ids(a))
    await town.send(WithdrawConsent(user_id=USER, purpose="personalisation"))
    without = await town.answers(USER, lambda a: a["fallback_reason"] == "no_consent")
    assert without["source"] == "popular"
    assert without["history_length"] == 0
    assert not any(int(i[1:]) % 2 == 0 for i in ids(without))


async def test_a_promotion_is_followed_at_once(town: Town) -> None:
    """Routing follows the log: the next version answers within moments, without an answer lost between."""
    id = await town.deploy(2, town.artifact(l2=900.0))
    seen: list[int] = []

    async def changed() -> bool:
        answer = await town.recommend(USER)
        if answer["source"] == "model":  # where Triton was too slow for once, the last good answer is one too
            seen.append(answer["version"])
        return seen[-1:] == [2]

    await eventually(changed)
    await town.reaches(id, "completed")
    after = [answer for _ in range(20) if (answer := await town.recommend(USER))["source"] == "model"]
    assert {answer["version"] for answer in after} == {2}
    assert seen == sorted(seen)


@pytest.mark.alone
async def test_answers_while_triton_is_away_and_after(town: Town, stack: Stack) -> None:
    """Killed with -9: last good answer, or what is popular; then the model again, without anybody doing anything."""
    good = await town.answers(USER, by_model)
    stranger = next(user for user in DATA.histories() if user != USER)
    stack.kill("triton")
    try:
        away = await town.recommend(USER)
        assert (away["source"], away["based_on"]) == ("last_good", good["decision_id"])
        assert ids(away) == ids(good)
        never_asked = await town.recommend(stranger)
        assert never_asked["source"] == "popular_in_category"
        assert never_asked["fallback_reason"].startswith("triton_")
        latencies_ms = [(await town.recommend(USER))["latency_ms"] for _ in range(15)]
        assert min(latencies_ms[10:]) < 500, "the breaker spares the timeout"
    finally:
        await asyncio.to_thread(stack.restart, "triton")
    await town.answers(USER, by_model)


@pytest.mark.alone
async def test_answers_while_postgres_is_frozen(impatient: Town, stack: Stack) -> None:
    """The history cannot be read: the last good answer is given again, and it says why."""
    good = await impatient.answers(USER, by_model)
    stack.pause("postgres")
    try:
        away = await impatient.recommend(USER)
        assert (away["source"], away["fallback_reason"]) == ("last_good", "history_unavailable")
        assert ids(away) == ids(good)
        assert (await impatient.recommend("nobody"))["source"] == "popular"
    finally:
        stack.resume("postgres")
    await impatient.answers(USER, by_model)


@pytest.mark.alone
async def test_who_withdraws_consent_is_not_given_an_old_personal_answer(impatient: Town, stack: Stack) -> None:
    """The answers kept for bad times were made from a history that may not be used any more."""
    await impatient.answers(USER, by_model)
    await impatient.send(RegisterUser(user_id=USER))
    await impatient.send(WithdrawConsent(user_id=USER, purpose="personalisation"))

    async def forgotten() -> bool:  # nobody asks in between; serving looks by itself
        return impatient.parts.recommender._last_good.get(impatient.model, USER) is None

    await eventually(forgotten)
    stack.pause("postgres")
    try:
        away = await impatient.recommend(USER)
        assert (away["source"], away["fallback_reason"]) == ("popular", "history_unavailable")
    finally:
        stack.resume("postgres")


@pytest.mark.alone
async def test_the_erased_are_told_so(town: Town, stack: Stack) -> None:
    """410, on no record; also from memory, while PostgreSQL is away."""
    await town.recommend(USER)
    await town.send(EraseUser(user_id=USER, reason="asked"))
    url = f"{town.settings.serving.url}/users/{USER}/recommendations"

    async def refused() -> bool:
        async with town.http.get(url) as response:
            return response.status == 410 and (await response.json())["code"] == "erased_user"

    async def remembered() -> bool:
        return USER in town.parts.routing.world.erased and town.parts.recorder.waiting == 0

    await eventually(refused)
    await eventually(remembered)
    before = len(await read_topic(town.settings, "decisions"))
    stack.pause("postgres")
    try:
        assert await refused()
    finally:
        stack.resume("postgres")
    assert len(await read_topic(town.settings, "decisions")) == before


async def test_every_answer_is_on_record(town: Town) -> None:
    """Without gaps, as it was given, also through the stop of the service."""
    answers = [await town.recommend(user) for user in list(DATA.histories())[:20] * 3]
    await town.stop("serving")
    records = await read_topic(town.settings, "decisions")
    assert {record.meta.actor for record in records} == {"admin"}  # who asked, not for whom
    events = {record.event.decision_id: record.event for record in records}
    sequences = sorted(event.sequence for event in events.values())
    assert sequences == list(range(1, len(sequences) + 1))
    for answer in answers:
        event = events[answer["decision_id"]]
        assert [item.item_id for item in event.items] == ids(answer)
        assert (event.source, event.version, event.user_id) == (answer["source"], answer["version"], answer["user_id"])
        views = {position.view for position in event.positions}
        assert views >= {"user_history", "user_profile", "catalogue", "live_models"}
        assert len(event.history_sha256) == 64
