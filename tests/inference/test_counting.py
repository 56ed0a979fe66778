"""What follows what: the live fold equals a count from scratch, whatever comes in which batches."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.counting.fading import HOUR_US, NOTHING_MET, faded
from inference.counting.fading import folded as folded_hours
from inference.counting.fold import CoOccurrence, Met
from inference.counting.near import CANDIDATES, RECENT, Row, near, recent, row_of
from inference.counting.pairs import KEPT, SHIFT, SPAN, WEIGHTS
from inference.counting.scratch import counted_rows
from inference.interactions import Interactions
from inference.models import co_occurrence, popularity
from inference.models.popularity import PopularityParams
from inference.scorer import OnnxScorer

Said = tuple[str, bool | None]
"""A user, and whether they consent to training; None when they are erased."""


def event_id(number: int, *, chosen: bool = False) -> str:
    return f"00000000-0000-{'5' if chosen else '7'}000-8000-{number:012d}"


@st.composite
def logs(draw: st.DrawFn) -> list[Met]:
    """Interactions of few users with few items: late ones, repeated ids, silent kinds and ties in time included."""
    row = st.tuples(st.integers(0, 3), st.integers(0, 6), st.integers(0, 15), st.booleans(), st.integers(0, 9))
    rows = draw(st.lists(row, max_size=70))
    return [
        Met(
            event_id(number if not chosen else item, chosen=chosen),
            f"u{user}",
            f"i{item}",
            "skip" if kind == 0 else "view",
            at,
        )
        for number, (user, item, at, chosen, kind) in enumerate(rows)
    ]


words = st.lists(st.tuples(st.sampled_from(["u0", "u1", "u2"]), st.sampled_from([True, False, None])), max_size=5)


def by_hand(log: Sequence[Met], said: Sequence[Said]) -> dict[tuple[str, str], int]:
    """The definition, pair by pair."""
    erased = {user for user, word in said if word is None}
    last = {user: word for user, word in said if word is not None}
    histories: defaultdict[str, list[Met]] = defaultdict(list)
    seen: set[tuple[str, str]] = set()
    for one in log:
        again = one.id[14] == "5" and (one.id, one.user) in seen
        seen.add((one.id, one.user))
        if not again and one.kind != "skip" and one.user not in erased and last.get(one.user, True):
            histories[one.user].append(one)
    counts: Counter[tuple[str, str]] = Counter()
    for history in histories.values():
        items = [one.item for one in sorted(history, key=lambda one: one.at_us)]
        for place, first in enumerate(items):
            for weight, second in zip(WEIGHTS, items[place + 1 :], strict=False):
                if first != second:
                    counts[first, second] += weight
    return dict(counts)


def folded(log: Sequence[Met], said: Sequence[Said], cuts: Sequence[int]) -> CoOccurrence:
    """The log in batches that end at these places, with what users say in between."""
    fold = CoOccurrence()
    bounds = [0, *sorted(cut % (len(log) + 1) for cut in cuts), len(log)]
    words = list(said)
    for start, end in pairwise(bounds):
        fold.meet(log[start:end])
        for user, word in words[:1]:
            fold.erase(user) if word is None else fold.consent(user, training=word)
        words = words[1:]
    for user, word in words:
        fold.erase(user) if word is None else fold.consent(user, training=word)
    return fold


def pairs_of(fold: CoOccurrence) -> dict[tuple[str, str], int]:
    counts = fold.counts
    return {
        (fold.name(key >> SHIFT), fold.name(key & ((1 << SHIFT) - 1))): count
        for key, count in zip(counts.keys.tolist(), counts.counts.tolist(), strict=True)
    }


@given(log=logs(), said=words, cuts=st.lists(st.integers(0, 99), max_size=8))
def test_a_fold_is_what_it_says_whatever_the_batches(log: list[Met], said: list[Said], cuts: list[int]) -> None:
    """An answer is made again from positions alone; how the log was cut into batches is on no record."""
    fold = folded(log, said, cuts)
    assert pairs_of(fold) == by_hand(log, said)
    for item in {one.item for one in log}:
        assert fold.row(item) == {b: n for (a, b), n in by_hand(log, said).items() if a == item}


@given(log=logs(), said=words, cuts=st.lists(st.integers(0, 99), max_size=8))
def test_changed_rows_are_all_that_changed(log: list[Met], said: list[Said], cuts: list[int]) -> None:
    """Only these are written; a row that changed and is not named would be wrong for good."""
    kept: dict[str, Row] = {}
    fold = CoOccurrence()
    bounds = [0, *sorted(cut % (len(log) + 1) for cut in cuts), len(log)]
    for start, end in pairwise(bounds):
        fold.meet(log[start:end])
        kept |= {item: fold.kept(item) for item in fold.changed()}
    for user, word in said:
        fold.erase(user) if word is None else fold.consent(user, training=word)
        kept |= {item: fold.kept(item) for item in fold.changed()}
    found = {one.item: row_of(fold.row(one.item)) for one in log}
    assert {item: row for item, row in kept.items() if row.total} == {i: r for i, r in found.items() if r.total}


@given(log=logs(), silent=st.sets(st.sampled_from(["u0", "u1", "u2"])), items=st.sets(st.integers(0, 9)))
def test_rows_from_scratch_are_those_of_the_fold(log: list[Met], silent: set[str], items: set[int]) -> None:
    """Serving reads what was folded, an explanation counts anew: both must be one."""
    rows = [(one.id, one.user, one.item, one.kind, one.at_us) for one in log]
    schema = {"_id": pl.String, "user_id": pl.String, "item_id": pl.String, "kind": pl.String, "occurred_at": pl.Int64}
    asked = {f"i{item}" for item in items}
    found = counted_rows(pl.DataFrame(rows, schema=schema, orient="row"), asked, silent)
    fold = folded(log, [(user, False) for user in silent], [])
    assert found == {item: row for item in asked if (row := row_of(fold.row(item))).total}


@given(log=logs())
def test_the_live_answer_is_that_of_the_fitted_model(log: list[Met]) -> None:
    """The same counts trained into an artifact answer the same."""
    spoken = [one for one in log if one.kind != "skip" and one.id[14] == "7"]
    fold = folded(spoken, [], [])
    if not spoken:
        return
    columns = ([one.user for one in spoken], [one.item for one in spoken], np.ones(len(spoken)))
    data = Interactions.of(*columns, [one.at_us for one in spoken])
    scorer = OnnxScorer(co_occurrence.MODEL.train(data, co_occurrence.MODEL.params, 20))
    for asked in (["i0"], ["i3", "i1"], ["i5", "i2", "i5", "i0"]):
        history = [item for item in asked if item in data.items]
        live = [pair for pair in near(history, rows_for(fold, history)) if pair[0] not in history]
        fitted = scorer.score(history)
        assert len(live) == len(fitted)
        assert np.allclose([score for _, score in live], [score for _, score in fitted], rtol=1e-5)
        assert dict(live) == pytest.approx(dict(fitted), rel=1e-5)


def rows_for(fold: CoOccurrence, history: Sequence[str]) -> dict[str, Row]:
    return {item: row for item in history if (row := row_of(fold.row(item))).total}


def test_the_nearer_the_heavier() -> None:
    """What came right after says more than what came ten items later, and after that nothing."""
    fold = CoOccurrence()
    fold.meet([Met(event_id(n), "u", f"i{n:02}", "view", n) for n in range(SPAN + 3)])
    assert fold.row("i00") == {f"i{n:02}": WEIGHTS[n - 1] for n in range(1, SPAN + 1)}
    assert list(WEIGHTS) == sorted(WEIGHTS, reverse=True)


def test_many_users_in_many_batches() -> None:
    """The rows that are kept apart are joined with the many when they are many themselves."""
    random = np.random.default_rng(5)
    log = [
        Met(event_id(n), f"u{random.integers(200)}", f"i{random.integers(400)}", "view", int(random.integers(1000)))
        for n in range(4000)
    ]
    whole, pieces = CoOccurrence(), CoOccurrence()
    whole.meet(log)
    for start in range(0, len(log), 37):
        pieces.meet(log[start : start + 37])
    assert pairs_of(whole) == pairs_of(pieces) == by_hand(log, [])
    for item in {one.item for one in log}:
        assert pieces.kept(item) == row_of(pieces.row(item))


def test_a_row_keeps_the_most_frequent() -> None:
    """What is read for an answer is bounded; the total is that of all."""
    row = row_of({f"i{n:03}": 1 + n % 3 for n in range(KEPT + 50)})
    assert len(row.others) == KEPT
    assert row.total == sum(1 + n % 3 for n in range(KEPT + 50))
    assert [count for _, count in row.others] == sorted((count for _, count in row.others), reverse=True)


def test_an_answer_looks_at_the_newest_items() -> None:
    """A long history costs no more than a short one, and a repeated item counts where it was last."""
    history = [f"i{n}" for n in range(100)] + ["i0"]
    items = recent(history)
    assert len(items) == RECENT
    assert list(items)[-1] == "i0"
    assert max(items.values()) == items["i0"] == 1
    rows = {"i0": Row(1000, tuple((f"x{n}", 1) for n in range(CANDIDATES + 5)))}
    assert len(near(history, rows)) == CANDIDATES
    assert near(["stranger"], rows) == []


@given(log=logs(), cuts=st.lists(st.integers(0, 99), max_size=8), days=st.sampled_from([0.0, 0.1, 7.0]))
def test_popularity_is_folded_exactly(log: list[Met], cuts: list[int], days: float) -> None:
    """In any order and any batches the same to the last bit, and the same as the model fitted on all at once."""
    names = sorted({one.item for one in log})
    item = np.array([names.index(one.item) for one in log], np.int32)
    at = np.array([(one.at_us - 4) * HOUR_US * 5 + 7 for one in log], np.int64)
    weight = np.array([0.5 + (one.at_us % 2) for one in log], np.float32)
    turned = np.arange(len(log))[::-1]
    sums = NOTHING_MET
    for start, end in pairwise([0, *sorted(cut % (len(log) + 1) for cut in cuts), len(log)]):
        rows = turned[start:end]
        sums = folded_hours(sums, item[rows], at[rows], weight[rows])
    found = faded(sums, len(names), days)
    assert found.tolist() == faded(folded_hours(NOTHING_MET, item, at, weight), len(names), days).tolist()
    if log:
        data = Interactions.of([one.user for one in log], [one.item for one in log], weight, at)
        fitted = popularity.fit(data, PopularityParams(half_life_days=days))
        assert fitted.tolist() == found.astype(np.float32).tolist()
        newest = at.max() // HOUR_US
        ages = (newest - at // HOUR_US) / 24
        by_hand = np.bincount(item, weight * (np.exp2(-ages / days) if days else 1.0))
        assert np.allclose(found, by_hand)
