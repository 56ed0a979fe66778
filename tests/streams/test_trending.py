"""The trending stage without a broker; time is moved by hand."""

import json
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uuid6 import uuid7

from schemas.envelope import Meta
from schemas.features import ItemTrendMeasured
from schemas.interactions import InteractionRecorded
from streams.stage import Output
from streams.stages import trending
from streams.stages.trending import Params, Trend

START = datetime(1998, 4, 1, 12, tzinfo=UTC)
SHORT = Params(window_s=60, step_s=10, lateness_s=20, top=1000, smoothing=1.0)
Measures = dict[tuple[str, datetime], tuple[int, float]]


def interaction(item: str, at_s: float, *, kind: str = "view") -> InteractionRecorded:
    return InteractionRecorded(
        user_id="u",
        item_id=item,
        kind=kind,  # type: ignore[arg-type]
        occurred_at=START + timedelta(seconds=at_s),
    )


def meta(*, id: UUID | None = None, time: datetime | None = None) -> Meta:
    written = time or datetime(2026, 1, 1, tzinfo=UTC)
    return Meta(id=id or uuid7(), type=InteractionRecorded.AVRO, source="t", subject="u", time=written)


class Spec:
    """A stage that events are given to, and what it said."""

    def __init__(self, params: Params = SHORT) -> None:
        self.stage = trending.stage(params)
        self.state: Trend = self.stage.initial()
        self.said: list[Output] = []

    def given(self, event: InteractionRecorded, about: Meta | None = None) -> "Spec":
        self.state, said = self.stage.step(self.state, event, about or meta())
        self.said += said
        return self

    def settled(self) -> "Spec":
        self.state, said = self.stage.settle(self.state)
        self.said += said
        return self

    def measures(self) -> Measures:
        events: list[ItemTrendMeasured] = [output.event for output in self.said]
        return {(e.item_id, e.window_end): (e.interactions, e.score) for e in events}

    def restarted(self) -> "Spec":
        self.state = self.stage.load(json.loads(json.dumps(self.stage.dump(self.state))))
        return self


def run(events: Iterable[tuple[str, float]], params: Params = SHORT) -> Spec:
    spec = Spec(params)
    for item, at_s in events:
        spec.given(interaction(item, at_s))
    return spec.settled()


def brute_force(
    events: Sequence[tuple[str, float]], end_s: int, params: Params = SHORT
) -> dict[str, tuple[int, float]]:
    """Counts and scores of the window that ends `end_s` after the start, by the definition."""
    now = Counter(item for item, at in events if end_s - params.window_s <= at < end_s)
    past = Counter(item for item, at in events if end_s - 2 * params.window_s <= at < end_s - params.window_s)
    return {item: (n, (n + params.smoothing) / (past[item] + params.smoothing)) for item, n in now.items()}


def end(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_an_interaction_is_measured_when_the_input_pauses() -> None:
    """Freshness: nobody waits for the window to be over."""
    spec = Spec().given(interaction("film", 3)).settled()
    assert spec.measures() == {("film", end(10)): (1, 2.0)}


def test_nothing_new_is_not_told_again() -> None:
    """Settling happens five times a second; the topic must not fill with repetitions."""
    spec = Spec().given(interaction("film", 3)).settled().settled()
    assert len(spec.said) == 1


def test_window_starts_are_inside_and_ends_outside() -> None:
    """An event on a boundary counts once, in the window that begins there."""
    spec = run([("film", 0), ("film", 59.999999), ("film", 60), ("other", 95)])
    assert spec.measures()[("film", end(60))][0] == 2
    assert spec.measures()[("film", end(70))][0] == 2  # 59.999999 and 60; 0 fell out


def test_the_score_compares_with_the_window_before() -> None:
    """Rising, not popular: an item as busy as before scores 1."""
    spec = run([("steady", 5), ("steady", 65), ("rising", 65), ("rising", 66), ("rising", 67)])
    assert spec.measures()[("steady", end(70))] == (1, 1.0)
    assert spec.measures()[("rising", end(70))] == (3, 4.0)


def test_a_window_is_told_for_the_last_time_when_its_lateness_is_over() -> None:
    """A late event within the allowance corrects the window, one after it does not."""
    spec = Spec().given(interaction("film", 5)).given(interaction("other", 25)).given(interaction("film", 6))
    assert not spec.said
    spec.given(interaction("other", 30))
    assert spec.measures() == {("film", end(10)): (2, 3.0)}
    spec.given(interaction("film", 7)).settled()
    assert spec.measures()[("film", end(10))] == (2, 3.0)
    assert spec.measures()[("film", end(40))] == (3, 4.0), "the newest window takes it still"


def test_a_repeated_client_chosen_id_counts_once() -> None:
    """A client that sends again because the answer got lost must not make a trend."""
    chosen = uuid5(UUID(int=1), "key")
    spec = Spec()
    for _ in range(3):
        spec.given(interaction("film", 3), meta(id=chosen)).restarted()
    assert spec.settled().measures()[("film", end(10))][0] == 1


def test_remembered_ids_are_bounded() -> None:
    """Memory does not grow with the log."""
    spec = Spec(Params(window_s=60, step_s=10, remembered_ids=10))
    for number in range(100):
        spec.given(interaction("film", 3), meta(id=uuid5(UUID(int=1), str(number))))
    assert len(spec.state.ids) == 10


def test_a_clock_that_is_ahead_moves_nothing() -> None:
    """One phone set to the year 9999 would otherwise end all trends."""
    spec = Spec().given(interaction("film", 3))
    ahead = InteractionRecorded(
        user_id="u", item_id="film", kind="view", occurred_at=datetime(9999, 12, 31, 23, 59, tzinfo=UTC)
    )
    spec.given(ahead, meta(time=START + timedelta(seconds=4))).settled()
    assert spec.measures() == {("film", end(10)): (2, 3.0)}


@pytest.mark.parametrize("year", [1, 1969])
def test_events_from_before_1970_are_late(year: int) -> None:
    """A broken clock at the other end must not break the arithmetic."""
    spec = Spec()
    old = InteractionRecorded(user_id="u", item_id="film", kind="view", occurred_at=datetime(year, 1, 1, tzinfo=UTC))
    spec.given(old).settled()
    assert spec.state.late == 1
    assert not spec.said


def test_what_is_no_interest_is_no_trend() -> None:
    """Skipping an item says the opposite."""
    assert not Spec().given(interaction("film", 3, kind="skip")).settled().said


def test_a_live_event_after_old_data_closes_the_old_windows() -> None:
    """The demo: films of 1998, then one click today. The newest window wins, the old ones get their last word."""
    spec = run([("old", 1), ("old", 2)])
    today = InteractionRecorded(user_id="u", item_id="new", kind="view", occurred_at=datetime(2026, 1, 1, tzinfo=UTC))
    spec.given(today).settled()
    newest = max(window for _, window in spec.measures())
    assert {item for item, window in spec.measures() if window == newest} == {"new"}
    assert spec.measures()[("old", end(10))] == (2, 3.0)
    spec.given(interaction("old", 3)).settled()
    assert spec.state.late == 1, "history that arrives now is history"
    assert len(spec.state.counts) == 1, "nothing of 1998 is kept"


def test_only_the_best_are_told() -> None:
    """The output is bounded by windows, not by items."""
    spec = run([(f"item-{n}", 1.0) for n in range(50) for _ in range(n)], Params(window_s=60, step_s=10, top=3))
    assert {item for item, _ in spec.measures()} == {"item-49", "item-48", "item-47"}


def test_who_was_told_and_fell_behind_gets_a_last_word() -> None:
    """Otherwise the read model keeps a count that was true for a second."""
    params = Params(window_s=60, step_s=10, lateness_s=0, top=1)
    spec = Spec(params).given(interaction("early", 1)).settled()
    for _ in range(3):
        spec.given(interaction("late", 2))
    spec.given(interaction("early", 3)).given(interaction("next", 11))
    assert spec.measures()[("early", end(10))][0] == 2
    assert spec.measures()[("late", end(10))][0] == 3


def test_a_measurement_said_twice_has_one_id_and_a_corrected_one_another() -> None:
    """Readers leave repeats out by their ids."""
    first = run([("film", 3)]).said
    again = run([("film", 3)]).said
    more = run([("film", 3), ("film", 4)]).said
    assert [output.id for output in first] == [output.id for output in again]
    assert more[0].id != first[0].id
    assert first[0].id.version == 5


def test_window_and_step_must_fit() -> None:
    """A window of one and a half panes cannot be counted."""
    with pytest.raises(ValueError, match="multiple"):
        Params(window_s=15, step_s=10)


arrivals = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 3000).map(lambda tenths: tenths / 10)), min_size=1, max_size=80
)


@given(arrivals, st.randoms(use_true_random=False))
def test_the_newest_window_is_exact_in_any_order(events: list[tuple[str, float]], order: random.Random) -> None:
    """Partitions are read unevenly; what is trending now must not depend on it."""
    order.shuffle(events)
    spec = run(events)
    newest = (int(max(at for _, at in events)) // 10 + 1) * 10
    measured = {item: values for (item, window), values in spec.measures().items() if window == end(newest)}
    assert measured == brute_force(events, newest)


@given(arrivals, st.randoms(use_true_random=False))
def test_every_window_is_exact_in_any_order_within_the_lateness(
    events: list[tuple[str, float]], order: random.Random
) -> None:
    """The lateness is a promise: whatever comes within it counts."""
    shaken = sorted(events, key=lambda e: e[1] + order.uniform(0, SHORT.lateness_s))
    measures = run(shaken).measures()
    assert measures.keys() >= run(sorted(events, key=lambda e: e[1])).measures().keys()
    for window in {window for _, window in measures}:
        end_s = int((window - START).total_seconds())
        measured = {item: values for (item, end_), values in measures.items() if end_ == window}
        if _is_closed(events, end_s) or window == max(end_ for _, end_ in measures):
            assert measured == brute_force(events, end_s)


@given(arrivals, st.lists(st.booleans(), min_size=80, max_size=80), st.lists(st.booleans(), min_size=80, max_size=80))
def test_restarts_and_pauses_change_nothing_in_the_end(
    events: list[tuple[str, float]], restarts: list[bool], pauses: list[bool]
) -> None:
    """A kept state is the state; when the stage settles is the shell's business."""
    plain = run(events)
    disturbed = Spec()
    for (item, at_s), restart, pause in zip(events, restarts, pauses, strict=False):
        disturbed.given(interaction(item, at_s))
        if pause:
            disturbed.settled()
        if restart:
            disturbed.restarted()
    disturbed.settled()
    assert disturbed.measures().items() >= plain.measures().items()
    assert disturbed.state.counts == plain.state.counts


@given(arrivals)
def test_the_state_is_bounded_by_time(events: list[tuple[str, float]]) -> None:
    """No pane older than any open window can need is kept."""
    spec = run(events)
    panes = 2 * SHORT.panes + SHORT.lateness_s // SHORT.step_s + 1
    assert len(spec.state.counts) <= panes
    assert max(spec.state.counts) - min(spec.state.counts) < panes
    assert len(spec.state.open) <= SHORT.lateness_s // SHORT.step_s + 1
    assert spec.state.told.keys() <= spec.state.open


def _is_closed(events: Sequence[tuple[str, float]], end_s: int) -> bool:
    return max(at for _, at in events) >= end_s + SHORT.lateness_s
