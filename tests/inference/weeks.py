"""Three weeks of a small service, with all that an audit asks about: `three_weeks` writes them into a chronicle."""

import random
from datetime import datetime, timedelta
from typing import Any

from schemas.catalog import ItemAdded, ItemRetired
from schemas.deadletters import RecordDeadLettered, RecordRecovered
from schemas.decisions import RecommendationServed, ScoredItem
from schemas.models import (
    TrainingFailed,
    TrainingRequested,
)
from schemas.profiles import ConsentGiven, ConsentWithdrawn, PersonalDataDestroyed, UserErased, UserRegistered

from .chronicle import HOSTILE, START, Chronicle, met, served

CATEGORIES = ("comedy", "crime", "drama", "family", "science fiction", "thriller", "western")


async def three_weeks(log: Chronicle, answers: int = 3000) -> None:
    """Two promotions, one taken back, a failed run, a burst of fallbacks, a shift, erasures, letters, a gap."""
    dice = random.Random(11)
    day = timedelta(days=1)
    items = [f"i{n}" for n in range(60)]
    for n, item in enumerate(items):
        title = HOSTILE if n == 3 else f"Film {n}"
        await log.say(ItemAdded(item_id=item, title=title, categories=(CATEGORIES[n % 7],)), START, "catalogue")
    await log.say(ItemRetired(item_id="i59", reason="rights have ended"), START + day, "catalogue")
    people = [f"u{n}" for n in range(120)]
    for n, user in enumerate(people):
        await log.say(UserRegistered(user_id=user, name="sealed"), START + timedelta(minutes=n), "shop")
        for k in range(1 + n % 12):
            at = START + timedelta(hours=3, minutes=n + k)
            await log.say(met(user, dice.choices(items, [60 - i for i in range(60)])[0], at), at, "shop")
    await log.train("movies", 1, START + day, algorithm="popularity", ndcg=0.08, by="ben")
    await log.deploy("movies", 1, START + day + timedelta(hours=1), by="ben", previous=None)
    await _talk(log, dice, people, items, answers)
    await _people(log)
    await _trouble(log)


async def _talk(log: Chronicle, dice: random.Random, people: list[str], items: list[str], answers: int) -> None:
    """Answers over eighteen days; version 2 from day 6 on, version 4 from day 15; Triton away on day 10."""
    first, day = START + timedelta(days=1, hours=2), timedelta(days=1)
    span = 18 * day / answers
    trained = {6: (2, "item-to-item", 0.11, "ben"), 15: (4, "ease", 0.125, "ana")}
    done: set[int] = set()
    version = 1
    for n in range(answers):
        at = first + n * span
        days = (at - START).days
        if days in trained and days not in done:
            done.add(days)
            previous, (version, algorithm, ndcg, by) = version, trained[days]
            await log.train("movies", version, at - timedelta(minutes=30), algorithm=algorithm, ndcg=ndcg, by=by)
            approvers = ("ben", "eve") if version == 4 else ()
            begun = at - timedelta(minutes=5)
            await log.deploy("movies", version, begun, by=by, previous=previous, approvers=approvers)
        user = dice.choice(people) if dice.random() < 0.85 else f"guest-{n}"
        if n != 1234:  # a number that never came to the log
            await log.say(_answer(dice, user, n, at, days, version, items), at, "shop")
        if n % 3 == 0 and not user.startswith("guest"):
            crime = [i for i in items if int(i[1:]) % 7 == 1]
            item = dice.choice(crime) if days >= 12 and dice.random() < 0.6 else dice.choice(items)
            await log.say(met(user, item, at), at, "shop")


def _answer(
    dice: random.Random, user: str, n: int, at: datetime, days: int, version: int, items: list[str]
) -> RecommendationServed:
    best = 2.0 + dice.random() + (0.8 if version == 4 and days > 16 else 0)
    shown = dice.choices(items[:40] if version == 1 else items, k=10)
    answer = tuple(ScoredItem(item_id=item, score=best - i / 10) for i, item in enumerate(dict.fromkeys(shown)))
    made: dict[str, Any] = {
        "version": version,
        "artifact_sha256": f"{version:x}a" * 32,
        "history_length": dice.randint(1, 12) + (25 if days >= 14 else 0),
        "items": answer,
        "latency_ms": dice.lognormvariate(2.0, 0.4),
        "sequence": n + 1,
    }
    if user.startswith("guest"):
        made |= {"source": "popular", "fallback_reason": "unknown_user", "history_length": 0}
        made |= {"version": None, "artifact_sha256": None}
    elif (at - START).days == 10 and at.hour in (9, 10, 11, 12, 13, 14):
        made |= {"source": "last_good", "fallback_reason": "triton_unavailable", "latency_ms": 55 + 10 * dice.random()}
    return served(user, n, at, **made)


async def _people(log: Chronicle) -> None:
    day = timedelta(days=1)
    for n in (5, 6, 7):
        await log.say(ConsentWithdrawn(user_id=f"u{n}", purpose="training"), START + 19 * day, f"u{n}")
    await log.say(ConsentGiven(user_id="u6", purpose="training"), START + 19 * day + timedelta(hours=2), "u6")
    for n, took in ((8, 3), (9, 40)):
        at = START + 19 * day + timedelta(hours=n)
        position = await log.say(UserErased(user_id=f"u{n}", reason=f"request 2026-{n}"), at, "privacy")
        gone = PersonalDataDestroyed(user_id=f"u{n}", position=position, keys=1, removed={"user_history": 12 + n})
        await log.say(gone, at + timedelta(seconds=took), "eraser")


async def _trouble(log: Chronicle) -> None:
    at = START + timedelta(days=19, hours=3)
    asked = TrainingRequested(model="movies", run_id="run-x", algorithm="ease", params={"l2": "much"}, k=50, ranges=())
    await log.say(asked, at, "ben")
    failed = TrainingFailed(model="movies", run_id="run-x", reason="hyper-parameter l2 must be a number, not 'much'")
    await log.say(failed, at + timedelta(seconds=1), "trainer")
    reason = f"golden request 3 differs: {HOSTILE}"
    await log.give_up("movies", 3, at + timedelta(hours=1), by="ben", serving=2, reason=reason)
    for n in range(3):
        letter = RecordDeadLettered(
            consumer="user_history",
            topic="interactions",
            partition=0,
            offset=n,
            key="u1",
            headers={},
            value=b"",
            code="bad_bytes",
            cause="a value is longer than its schema",
            position=f"interactions/0/{n}",
            parked=True,
        )
        await log.say(letter, at + timedelta(minutes=n), "projector")
    mended = RecordRecovered(letter_id="l", view="user_history", position="interactions/0/1", key="u1", request_id="r")
    await log.say(mended, at + timedelta(hours=5), "projector")
