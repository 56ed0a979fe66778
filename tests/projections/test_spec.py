"""Read models by example, as users of the project write them."""

from typing import Any

import pytest
from psycopg import AsyncConnection

from infra.settings import Settings
from projections.testing import IndexSpec, ViewSpec, minute
from projections.views import catalogue_search, schedules
from schemas.catalog import ItemAdded, ItemChanged, ItemRetired
from schemas.schedules import CommandRescheduled, CommandScheduled, ScheduleCancelled, ScheduleFired, ScheduleSent

DATA = '{"item_id": "50"}'
MADE = CommandScheduled(schedule_id="s", due_at=minute(60), command_type="RetireItem", data=DATA, actor="ana")
FIRED = ScheduleFired(
    schedule_id="s", revision=1, command_type="RetireItem", data="{}", sent_command_id="c", actor="ana"
)


@pytest.fixture
def view(database: AsyncConnection[Any], settings: Settings) -> ViewSpec:
    """The scheduled commands."""
    return ViewSpec(schedules.VIEW, database, settings.postgres.db_schema)


async def test_a_schedule_shows_how_far_it_has_come(view: ViewSpec) -> None:
    """Whoever scheduled a command sees that it waits, was moved, was sent, and under which id."""
    (await view.given(MADE)).then({"schedule_id": "s", "status": "pending", "due_at": minute(60), "revision": 1})
    moved = CommandRescheduled(schedule_id="s", due_at=minute(90), revision=2)
    (await view.given(MADE, moved)).then({"status": "pending", "due_at": minute(90), "revision": 2})
    (await view.given(MADE, FIRED)).then({"status": "fired", "command_id": "c", "data": {"item_id": "50"}})
    sent = ScheduleSent(schedule_id="s", revision=1, sent_command_id="c")
    (await view.given(MADE, FIRED, sent)).then({"status": "sent", "command_id": "c", "reason": None})


async def test_a_schedule_says_why_nothing_was_sent(view: ViewSpec) -> None:
    """Cancelled by somebody, or impossible by then."""
    (await view.given(MADE, ScheduleCancelled(schedule_id="s", reason="renewed"))).then(
        {"status": "cancelled", "reason": "renewed"}
    )
    failed = ScheduleSent(schedule_id="s", revision=1, sent_command_id="c", problem="no such field")
    (await view.given(MADE, FIRED, failed)).then({"status": "failed", "reason": "no such field"})


async def test_a_wrong_example_says_what_is_there_instead(view: ViewSpec) -> None:
    """The difference is shown line by line."""
    rows = await view.given(MADE)
    with pytest.raises(AssertionError, match=r"other rows than expected(.|\n)*- .*'sent'(.|\n)*\+ .*'pending'"):
        rows.then({"status": "sent"})


def test_an_index_keeps_what_an_event_does_not_change() -> None:
    """A document is merged, event by event."""
    index = IndexSpec(catalogue_search.INDEX)
    added = ItemAdded(item_id="50", title="Star Wars", categories=("Sci-Fi",))
    document: dict[str, Any] = {
        "item_id": "50",
        "title": "Star Wars (1977)",
        "description": None,
        "categories": ["Sci-Fi"],
        "attributes": {},
        "retired": True,
        "place": "0/0",
        "title_words": "star wars (1977)",
        "category_words": ["sci-fi"],
        "attribute_names": [],
        "suggest": None,
    }
    changed = ItemChanged(item_id="50", title="Star Wars (1977)")
    index.given(added, changed, ItemRetired(item_id="50")).then({"50": document})
