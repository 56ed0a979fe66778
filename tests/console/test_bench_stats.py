"""The numbers that the benchmark prints are only as good as their arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.bench.stats import Better, advantage, percentile, spread

POSITIVE = st.floats(min_value=1e-3, max_value=1e6)
RUNS = st.lists(POSITIVE, min_size=1, max_size=30)
SHARES = st.floats(min_value=0.001, max_value=1)


def test_percentiles_of_a_hundred_are_the_values_themselves() -> None:
    """The definition, where it can be read off."""
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0.5, 0.95, 0.99, 1)] == [50, 95, 99, 100]


@given(RUNS, SHARES)
def test_a_percentile_is_the_smallest_value_with_enough_below_it(values: list[float], share: float) -> None:
    """A latency that is reported has really occurred, and is not one too low."""
    found = percentile(values, share)
    below = sum(value < found for value in values)
    up_to = sum(value <= found for value in values)
    assert found in values
    assert up_to >= share * len(values) - 1e-9
    assert below < share * len(values)


@given(RUNS, SHARES, SHARES)
def test_percentiles_grow_with_their_share(values: list[float], one: float, other: float) -> None:
    """A p99 under a p95 would be nonsense."""
    assert percentile(values, min(one, other)) <= percentile(values, max(one, other))


@given(RUNS)
def test_a_spread_encloses_its_median(runs: list[float]) -> None:
    """Median and range are of the same runs."""
    found = spread(runs)
    assert found.least <= found.median <= found.most


@given(st.lists(st.tuples(POSITIVE, POSITIVE), min_size=1, max_size=9), st.sampled_from(["lower", "higher"]))
def test_whoever_is_better_has_a_ratio_over_one(pairs: list[tuple[float, float]], better: Better) -> None:
    """A rate is better high and a time low; the ratio says the same thing of both."""
    ours, theirs = [list(side) for side in zip(*pairs, strict=True)]
    found = advantage(ours, theirs, better)
    won = [mine > other if better == "higher" else mine < other for mine, other in pairs]
    assert (found.least > 1) == all(won) or found.least == pytest.approx(1)


def test_runs_are_compared_in_pairs() -> None:
    """The machine was slow during the second pair: that hits both of them and leaves the ratio alone."""
    found = advantage([100, 10, 100], [50, 5, 50], "higher")
    assert (found.least, found.median, found.most) == (2, 2, 2)


@pytest.mark.parametrize("wrong", [([1.0], [1.0, 2.0]), ([], []), ([0.0], [1.0])])
def test_what_cannot_be_compared_is_refused(wrong: tuple[list[float], list[float]]) -> None:
    """Rather no ratio than a wrong one."""
    with pytest.raises(ValueError):
        advantage(*wrong, "higher")


def test_nothing_has_no_percentile_and_no_median() -> None:
    """An empty measurement must not turn into a zero."""
    with pytest.raises(ValueError):
        percentile([], 0.5)
    with pytest.raises(ValueError):
        percentile([1.0], 0)
    with pytest.raises(ValueError):
        spread([])
