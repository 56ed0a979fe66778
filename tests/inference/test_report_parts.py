"""The parts that an audit report computes with, each held against its definition."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import groupby

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.report import axis, chart
from inference.report.drift import deciles, psi, shift
from inference.report.paper import text
from inference.report.sequences import Sequences
from inference.report.tally import LADDER_S, MOST_STEPS, Tally, bin_value, quantile
from inference.report.wording import count, duration, listed, percent

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
histograms = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 500), min_size=1)


@given(histograms, histograms)
def test_the_index_is_symmetric_and_never_negative(before: dict[str, int], since: dict[str, int]) -> None:
    """What makes it a distance: nothing is gained by turning the comparison around."""
    assert psi(before, since) >= 0
    assert psi(before, since) == pytest.approx(psi(since, before))
    assert psi(before, before) == 0


def test_the_index_by_hand() -> None:
    """The definition, computed once with pencil and paper: (0.5 - 0.2) ln 2.5 + (0.5 - 0.8) ln 0.625."""
    assert psi({"a": 20, "b": 80}, {"a": 50, "b": 50}) == pytest.approx(0.4158883)
    with pytest.raises(ValueError):
        psi({}, {"a": 1})


def test_chance_alone_is_no_shift() -> None:
    """Of 200 comparisons of the same people with themselves hardly one may be called a shift."""
    dice = random.Random(5)
    told = Counter(
        shift(Counter(dice.choices("abcdefgh", k=60)), Counter(dice.choices("abcdefgh", k=180))).verdict
        for _ in range(200)
    )
    assert told["steady"] >= 196
    assert shift({"a": 60, "b": 60}, {"a": 110, "b": 10}).verdict == "marked"
    assert shift({"a": 500, "b": 500}, {"a": 680, "b": 320}).verdict == "slight"
    assert shift({"a": 29}, {"a": 500}).verdict == "too few"


@given(
    st.dictionaries(st.integers(-50, 50), st.integers(1, 40), min_size=1),
    st.dictionaries(st.integers(-60, 60), st.integers(1, 40)),
)
def test_joined_bins_lose_nothing(before: dict[int, int], since: dict[int, int]) -> None:
    """Every event falls into exactly one of the joined bins, also what lies outside the first ones."""
    ends, *sides = deciles(before, since)
    assert [sum(side.values()) for side in sides] == [sum(before.values()), sum(since.values())]
    assert all(len(side) == len(ends) + 1 <= 10 for side in sides)


@given(st.lists(st.tuples(st.integers(0, 40_000_000), st.sampled_from("xy")), min_size=1), st.randoms())
def test_a_tally_does_not_depend_on_the_order(events: list[tuple[int, str]], dice: random.Random) -> None:
    """The same report whatever the pieces in which the log is read."""
    tallies = []
    for _ in range(2):
        tally = Tally()
        for at, kind in events:
            tally.widen(at, at)
            tally.add(at, (kind,))
        tallies.append(tally)
        dice.shuffle(events)
    one, other = tallies
    assert list(one.by_start()) == list(other.by_start())
    assert one.step_s == other.step_s
    assert len(one.starts()) <= MOST_STEPS + 1 or one.step_s == LADDER_S[-1]
    assert one.totals() == Counter((kind,) for _, kind in events)


def test_quantiles_are_right_to_half_a_bin() -> None:
    """Latencies are kept as counts alone; what is said of them has to hold all the same."""
    dice = np.random.default_rng(3)
    values = dice.lognormal(2, 0.7, 20_000)
    histogram = Counter(int(n) for n in np.floor(np.log2(values) * 8))
    for share in (0.5, 0.95, 0.99):
        assert quantile(histogram, share) == pytest.approx(np.quantile(values, share), rel=0.05)
    assert quantile({}, 0.5) is None
    assert bin_value(0) == 1.0


def frame(numbers: list[int], server: str = "s") -> pl.DataFrame:
    at = [START + timedelta(seconds=n) for n in range(len(numbers))]
    return pl.DataFrame({"server": [server] * len(numbers), "sequence": numbers, "served_at": at}).cast(
        {"sequence": pl.Int64, "served_at": pl.Datetime("us", "UTC")}
    )


@given(st.lists(st.integers(1, 300), min_size=1, max_size=200), st.integers(1, 50))
def test_gaps_are_what_is_not_there(numbers: list[int], size: int) -> None:
    """Held against the sets; repeats count once, in whatever pieces they come."""
    sequences = Sequences()
    new = sum(int(sequences.take(frame(numbers[at : at + size])).sum()) for at in range(0, len(numbers), size))
    (found,) = sequences.found(START.timestamp() + 10_000, from_start=True)
    missing = sorted(set(range(1, max(numbers))) - set(numbers))
    runs = [[n for _, n in run] for _, run in groupby(enumerate(missing), key=lambda pair: pair[1] - pair[0])]
    assert new == found.recorded == len(set(numbers))
    assert found.missing == len(missing)
    assert [(gap.first, gap.last) for gap in found.gaps] == [(run[0], run[-1]) for run in runs][:20]


def test_numbers_at_the_edges_of_a_period() -> None:
    """Records of one server stand in several partitions: at both ends of a period some are on the other side."""
    sequences = Sequences()
    sequences.take(frame([98, 99, 101]), lead_in=True)
    sequences.take(frame([100, 102, 103, 9000, 9002]))
    end = START.timestamp() + 5
    (found,) = sequences.found(end, from_start=False)
    assert (found.first, found.recorded) == (100, 5)
    assert (found.missing, found.open) == (9000 - 104, 1)  # 9001 may still come
    (later,) = sequences.found(end + 3600, from_start=False)
    assert (later.missing, later.open) == (9000 - 104 + 1, 0)


def test_numbers_that_make_no_sense_cost_nothing() -> None:
    """A server that counts from somewhere else must not take the memory of whoever reads."""
    sequences = Sequences()
    sequences.take(frame([2**62, 2**62 + 2]))
    (found,) = sequences.found(START.timestamp() + 10_000, from_start=False)
    assert found.missing == 1


@given(st.floats(0.001, 1e9))
def test_an_axis_holds_its_values(highest: float) -> None:
    """Bars must not leave the picture, and its ticks are round and in order."""
    end, ticks = axis.numbers(highest, 4)
    assert end >= highest * (1 - 1e-9)
    assert 2 <= len(ticks) <= 6
    assert [tick.at for tick in ticks] == sorted(tick.at for tick in ticks)


@given(st.integers(1, 400_000_000), st.integers(2, 8))
def test_times_on_an_axis(seconds: int, most: int) -> None:
    """From seconds to years: at least one tick, not too many, none outside."""
    ticks = axis.times(START, START + timedelta(seconds=seconds), most)
    assert 1 <= len(ticks) <= most + 1
    assert all(0 <= tick.at <= 1 for tick in ticks)


def test_charts_escape_what_they_write() -> None:
    """A model may be called anything."""
    evil = {"model": '"><script>', "version": 1, "algorithm": "<b>", "from": START.isoformat(), "to": None}
    drawn = chart.timeline([evil], START, START + timedelta(days=1))
    assert "<script" not in drawn
    assert "<b>" not in drawn


def test_words_of_the_log_stay_words_in_markdown() -> None:
    """No link, no heading, no row of a table comes from a name."""
    assert text("a|b\n# [x](y) <i>") == "a\\|b \\# \\[x\\](y) \\<i\\>"
    assert text(None) == "–"


def test_numbers_in_words() -> None:
    """The forms that readers see."""
    assert [count(n, "person", "people") for n in (0, 1, 2000)] == ["no people", "1 person", "2,000 people"]
    assert [percent(n, 10_000) for n in (0, 1, 1250, 9999, 10_000)] == [
        "0 %",
        "under 0.1 %",
        "12.5 %",
        "over 99.9 %",
        "100 %",
    ]
    assert percent(1, 0) == "–"
    assert [duration(n) for n in (None, 0.25, 90, 7200, 864000)] == ["–", "0.25 s", "1.5 min", "2 h", "10 days"]
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(list("abcdefg")) == "a, b, c, d, e and 2 more"
