"""What each view makes of its events, in one batch and one by one."""

from typing import Any
from uuid import NAMESPACE_URL, uuid5

from psycopg import AsyncConnection

from infra.settings import Settings
from projections.testing import Log, minute
from projections.views import (
    catalogue,
    command_log,
    decisions,
    popularity,
    trending,
    user_history,
    user_profile,
)
from schemas.catalog import ItemAdded, ItemChanged, ItemRetired
from schemas.features import ItemTrendMeasured
from schemas.interactions import InteractionRecorded
from schemas.outcomes import CommandAccepted, CommandRejected, CommandRepeated
from schemas.profiles import ConsentGiven, ConsentWithdrawn, PreferencesChanged, UserRegistered

from .samples import served
from .spec import Spec


def viewed(user: str, item: str, at: float, **more: Any) -> InteractionRecorded:
    return InteractionRecorded(user_id=user, item_id=item, kind="view", occurred_at=minute(at), **more)


async def test_profile_follows_every_event(database: AsyncConnection[Any], settings: Settings) -> None:
    """Serving reads consent and hidden categories from here; a lost withdrawal would be a breach."""
    row = await Spec(database, settings, user_profile.VIEW).row(
        *Log().of(
            UserRegistered(user_id="ana", name="Ana", attributes={"age": "30"}),
            ConsentWithdrawn(user_id="ana", purpose="training"),
            PreferencesChanged(user_id="ana", favourite_categories=("drama",), hidden_categories=("war", "noir")),
            ConsentWithdrawn(user_id="ana", purpose="personalisation"),
            ConsentGiven(user_id="ana", purpose="personalisation"),
        )
    )
    assert row == {
        "user_id": "ana",
        "name": "Ana",
        "attributes": {"age": "30"},
        "favourite_categories": ["drama"],
        "hidden_categories": ["war", "noir"],
        "language": None,
        "personalisation": True,
        "training": False,
        "registered_at": minute(0),
        "version": 5,
    }


async def test_preferences_are_replaced_whole(database: AsyncConnection[Any], settings: Settings) -> None:
    """A language that is no longer given is gone, not kept from before."""
    row = await Spec(database, settings, user_profile.VIEW).row(
        *Log().of(
            PreferencesChanged(user_id="ana", language="de", hidden_categories=("war",)),
            PreferencesChanged(user_id="ana"),
        )
    )
    assert (row["language"], row["hidden_categories"]) == (None, [])


async def test_history_keeps_every_interaction(database: AsyncConnection[Any], settings: Settings) -> None:
    """The history is the model's input, so two visits of one item are two rows."""
    rows = await Spec(database, settings, user_history.VIEW).rows(
        *Log().of(viewed("ana", "a", 2), viewed("ana", "a", 1, value=3.0), viewed("bo", "b", 2, decision_id="d"))
    )
    assert [(r["user_id"], r["item_id"], r["value"], r["offset"]) for r in sorted(rows, key=lambda r: r["offset"])] == [
        ("ana", "a", None, 0),
        ("ana", "a", 3.0, 1),
        ("bo", "b", None, 2),
    ]


async def test_a_fact_that_comes_twice_counts_once(database: AsyncConnection[Any], settings: Settings) -> None:
    """A client that repeats an upload must not change what is popular, nor what is recommended."""
    log, chosen = Log(), uuid5(NAMESPACE_URL, "chosen by the client")
    events = [
        log.add(viewed("ana", "a", 1), id=chosen),
        log.add(viewed("ana", "a", 1), id=chosen),
        log.add(viewed("ana", "a", 2)),
        log.add(viewed("bo", "a", 1), id=chosen),
    ]
    assert len(await Spec(database, settings, user_history.VIEW).rows(*events)) == 3
    row = await Spec(database, settings, popularity.VIEW).row(*events)
    assert (row["interactions"], row["last_at"]) == (3, minute(2))


async def test_catalogue_leaves_what_a_change_leaves(database: AsyncConnection[Any], settings: Settings) -> None:
    """Null in a change means `as it was`; an empty list means none."""
    row = await Spec(database, settings, catalogue.VIEW).row(
        *Log().of(
            ItemAdded(
                item_id="a", title="Alien", description="In space", categories=("horror",), attributes={"y": "1979"}
            ),
            ItemChanged(item_id="a", title="Alien!"),
            ItemChanged(item_id="a", categories=()),
            ItemRetired(item_id="a", reason="rights"),
        )
    )
    assert row == {
        "item_id": "a",
        "title": "Alien!",
        "description": "In space",
        "categories": [],
        "attributes": {"y": "1979"},
        "retired": True,
        "version": 4,
    }


async def test_decision_keeps_what_explains_it(database: AsyncConnection[Any], settings: Settings) -> None:
    """An explanation starts from this row."""
    row = await Spec(database, settings, decisions.VIEW).row(*Log().of(served("d1"), served("d1")))
    assert row["items"] == [{"item_id": "a", "score": 0.5}]
    assert row["positions"] == [{"view": "user_history", "topic": "interactions", "partition": 0, "next_offset": 7}]
    assert (row["filtered"], row["offset"]) == (["x"], 0)


async def test_trending_shows_the_newest_window(database: AsyncConnection[Any], settings: Settings) -> None:
    """A late measurement of an old window must not bring yesterday's trend back; a repeated one is a correction."""

    def measured(end: int, interactions: int) -> ItemTrendMeasured:
        return ItemTrendMeasured(
            item_id="a", window_start=minute(end - 5), window_end=minute(end), interactions=interactions, score=1.0
        )

    row = await Spec(database, settings, trending.VIEW).row(
        *Log().of(measured(5, 1), measured(10, 4), measured(5, 2), measured(10, 6))
    )
    assert (row["window_end"], row["interactions"]) == (minute(10), 6)


async def test_command_log_answers_every_command_once(database: AsyncConnection[Any], settings: Settings) -> None:
    """A client that lost its connection asks here what became of its command."""
    log = Log()
    spec = Spec(database, settings, command_log.VIEW)
    rows = await spec.rows(
        log.add(UserRegistered(user_id="ana"), causation_id="c0", command_offset=0),
        log.add(ConsentGiven(user_id="ana", purpose="training"), causation_id="c0", command_offset=0),
        log.add(
            CommandRejected(command_id="c1", command_type="t", code="exists", detail="known", status=409),
            key="ana",
            command_offset=1,
        ),
        log.add(
            CommandRepeated(command_id="c0", command_type="t", same_body=True, first_offset=0, version=2, status=201),
            key="ana",
            command_offset=2,
        ),
        log.add(ConsentGiven(user_id="ana", purpose="training"), causation_id="c3", command_offset=3),
        log.add(CommandAccepted(command_id="c4", command_type="t"), key="bo", command_offset=4),
    )
    answers = {
        r["command_offset"]: (r["command_id"], r["outcome"], r["status"], r["version"], r["offset"]) for r in rows
    }
    assert answers == {
        0: ("c0", "accepted", 200, 2, 1),
        1: ("c1", "rejected", 409, 2, 2),
        2: ("c0", "repeated", 201, 2, 3),
        3: ("c3", "accepted", 200, 3, 4),
        4: ("c4", "accepted", 200, 0, 5),
    }
