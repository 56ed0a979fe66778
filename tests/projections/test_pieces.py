"""The pure parts of the read side: cutting batches, grouping lanes, merging documents."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast
from uuid import NAMESPACE_URL, uuid5

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from projections.batch import Batch
from projections.documents import Pending, merged
from projections.lane import Lane, cohorts
from projections.runner import declared
from projections.staging import META, columns, row_maker
from projections.testing import Log, batch_of, columns_of, minute
from projections.view import Drop, Put, View, topics_of
from projections.views import catalogue_search, command_log, user_history
from schemas.catalog import ItemAdded, ItemChanged, ItemRetired
from schemas.envelope import Recorded
from schemas.interactions import InteractionRecorded
from schemas.topics import DECIDED

VIEWED = InteractionRecorded(user_id="ana", item_id="a", kind="view", occurred_at=minute(1))


def test_every_read_model_is_found() -> None:
    """A view in a file of its own is all it takes; nothing may need to be listed elsewhere."""
    assert {projection.name for projection in declared()} == {
        "api_key_uses",
        "api_keys",
        "approval_policies",
        "catalogue",
        "catalogue_search",
        "command_log",
        "dead_letter_requests",
        "dead_letters",
        "decisions",
        "decisions_search",
        "deployments",
        "event_index",
        "events_search",
        "item_index",
        "live_models",
        "model_registry",
        "popularity",
        "schedules",
        "training_runs",
        "training_steps",
        "trending",
        "user_history",
        "user_profile",
    }


def test_outcomes_come_from_every_decided_topic() -> None:
    """A refusal stands on the topic of its aggregate, so the command log must read them all."""
    assert topics_of(command_log.VIEW) == tuple(sorted(DECIDED))


@pytest.mark.parametrize("view", [p for p in declared() if isinstance(p, View)], ids=lambda view: view.name)
def test_every_staged_column_has_a_source(view: View) -> None:
    """A misspelt column would be staged as NULL for ever."""
    sources = {*META, *(name for event in view.reads for name in event.__slots__)}
    assert {column.name for column in columns(view)} <= sources


def test_a_row_holds_fields_and_what_stands_around_them() -> None:
    """The two sources of a staged row."""
    recorded = Log().add(VIEWED, partition=3)
    row = dict(
        zip(
            [column.name for column in columns(user_history.VIEW)],
            row_maker(user_history.VIEW, InteractionRecorded)(recorded),
            strict=True,
        )
    )
    assert (row["user_id"], row["partition"], row["offset"], row["decision_id"]) == ("ana", 3, 0, None)


unhurried = hypothesis_settings(deadline=None)
partitions = st.integers(0, 2)
histories = st.lists(partitions, min_size=2, max_size=30)
forms = st.sampled_from([batch_of, columns_of])


def events_of(*batches: Batch) -> list[Recorded]:
    return [event for batch in batches for event in batch.recorded({InteractionRecorded})]


def places(*batches: Batch) -> list[tuple[int, int]]:
    return sorted((e.position.partition, e.position.offset) for e in events_of(*batches))


@unhurried
@given(histories, forms)
def test_two_halves_are_the_whole(where: list[int], form: Callable[[list[Recorded]], Batch]) -> None:
    """Isolating a poison event must neither skip nor repeat any other."""
    log = Log()
    events = sorted((log.add(VIEWED, partition=p) for p in where), key=lambda e: e.position.partition)
    batch = form(events)
    one, two = batch.halves()
    assert [e.position for e in events_of(one, two)] == [e.position for e in events]
    assert (one.first, one.ends, two.ends) == (batch.first, two.first, batch.ends)
    assert len(one.raws()) == len(one) == len(batch) // 2


@unhurried
@given(histories, st.dictionaries(partitions, st.integers(0, 30), min_size=3), forms)
def test_below_and_beyond_share_out_a_batch(
    where: list[int], reached: dict[int, int], form: Callable[[list[Recorded]], Batch]
) -> None:
    """A lane that is ahead of its reader, and a rebuild that stops at a checkpoint, must meet exactly."""
    log = Log()
    batch = form([log.add(VIEWED, partition=p) for p in where])
    below, beyond = batch.below(reached), batch.beyond(reached)
    assert places(below, beyond) == places(batch)
    assert all(offset < reached[partition] for partition, offset in places(below))
    assert all(beyond.first[p] == max(reached[p], batch.first[p]) for p in beyond.ends)


@unhurried
@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=20), st.sets(st.sampled_from("abc")), forms)
def test_keys_share_out_a_batch(keys: list[str], chosen: set[str], form: Callable[[list[Recorded]], Batch]) -> None:
    """What waits behind a poison event and what flows on must be all there is, each once."""
    log = Log()
    batch = form([log.add(VIEWED, key=key) for key in keys])
    waiting, flowing = batch.of_keys(chosen), batch.without_keys(chosen)
    assert places(waiting, flowing) == places(batch)
    assert {event.meta.subject for event in events_of(waiting)} == chosen & set(keys)
    assert (waiting.ends, flowing.ends) == (batch.ends, batch.ends)


@unhurried
@given(histories)
def test_columns_hold_the_same_events(where: list[int]) -> None:
    """Elasticsearch gets its events one by one from either form."""
    log = Log()
    events = [log.add(VIEWED, partition=p, id=None if p else uuid5(NAMESPACE_URL, str(i))) for i, p in enumerate(where)]
    assert sorted(events_of(columns_of(events)), key=place) == sorted(events, key=place)
    staged = columns_of(events).held.staged(user_history.VIEW)
    assert staged.repeats == (0 in where)


def place(event: Recorded) -> str:
    return str(event.position)


def test_a_lane_far_behind_reads_alone() -> None:
    """A view that begins at 0 must not hold up those at the end of the log."""
    lanes = [cast(Lane, cast(Any, SimpleNamespace(reached={0: n}))) for n in (100, 0, 95)]
    assert [[lane.reached[0] for lane in group] for group in cohorts(lanes, near=10)] == [[100, 95], [0]]


def test_a_change_leaves_the_other_fields_of_a_document() -> None:
    """Elasticsearch knows no partial update with an external version, so the runner merges."""
    known = Pending(4, {"title": "Alien", "retired": False})
    assert merged(known, Put("a", {"retired": True}), 9) == Pending(9, {"title": "Alien", "retired": True})
    assert merged(known, Drop("a"), 9) == Pending(9, None)


def test_search_document_follows_an_item() -> None:
    """A retired item is found by audits only; what a change leaves null must not be wiped."""
    log = Log()
    added, changed, retired = (
        catalogue_search.document(event.event, event.meta, event.position)
        for event in log.of(
            ItemAdded(item_id="a", title="Alien", categories=("horror",)),
            ItemChanged(item_id="a", title="Alien!"),
            ItemRetired(item_id="a"),
        )
    )
    document = Pending()
    for number, change in enumerate((added, changed, retired), start=1):
        document = merged(document, change, number)
    assert document.fields is not None
    assert (document.fields["title"], document.fields["categories"], document.fields["retired"]) == (
        "Alien!",
        ["horror"],
        True,
    )
