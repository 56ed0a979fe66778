"""Metrics against examples worked by hand, and splits that do not leak."""

import math

import numpy as np
import pytest
from hypothesis import assume, given

from inference.interactions import Interactions
from inference.models import ease, popularity
from inference.scorer import OnnxScorer
from inference.training import split
from inference.training.evaluation import NEW, RETURNING, Case, cases, evaluate, fill, ndcg, rank, shares
from schemas.errors import Invalid

from .reference import interactions, toy


def log(*rows: tuple[str, str, int]) -> Interactions:
    return Interactions.of([r[0] for r in rows], [r[1] for r in rows], np.ones(len(rows)), [r[2] for r in rows])


def test_metrics_by_hand() -> None:
    """Popularity answers a, b to somebody new who chose b and z; the numbers can be checked on paper."""
    train = log(("u", "a", 1), ("v", "a", 2), ("w", "a", 3), ("u", "b", 4), ("v", "b", 5), ("w", "c", 6))
    scorer = OnnxScorer(popularity.MODEL.train(train, popularity.PopularityParams(0), 2))
    asked = [Case("x", (), frozenset({"b", "z"}), NEW), Case("u", ("a", "b"), frozenset({"a2"}), RETURNING)]

    result = evaluate(scorer, asked, 2, shares(train))

    new, returning = result.segments[NEW], result.segments[RETURNING]
    assert (new.recall, new.precision, new.hit_rate) == (0.5, 0.5, 1.0)
    assert new.ndcg == pytest.approx((1 / math.log2(3)) / (1 + 1 / math.log2(3)))
    assert new.coverage == pytest.approx(2 / 3)
    assert new.novelty == pytest.approx((0 - math.log2(2 / 3)) / 2)
    assert (returning.recall, returning.answered) == (0.0, 0.5)
    assert result.overall.recall == 0.25
    assert result.overall.coverage == 1.0


@pytest.mark.parametrize(
    ("hits", "relevant", "value"),
    [
        ([True, True], 2, 1.0),
        ([True, False], 1, 1.0),
        ([False, True], 1, 1 / math.log2(3)),
        ([False, False], 3, 0.0),
        ([True], 5, 1 / (1 + 1 / math.log2(3))),
    ],
)
def test_ndcg_by_hand(hits: list[bool], relevant: int, value: float) -> None:
    """Best possible is 1, a hit in second place counts 1/log2(3), a short answer cannot be perfect."""
    assert ndcg(hits, relevant, 2) == pytest.approx(value)


def test_batches_rank_as_single_requests_do() -> None:
    """Evaluation asks many at once; it must see what a user would have seen."""
    data = toy()
    scorer = OnnxScorer(ease.MODEL.train(data, ease.MODEL.params, 7))
    asked = [Case(u, history[:n], frozenset(), RETURNING) for n, (u, history) in enumerate(data.histories().items())]

    assert rank(scorer, asked) == [[item for item, _ in scorer.score(case.history)] for case in asked]


def test_fold_in_shows_the_earliest_part() -> None:
    """Live history: what came first is seen, what came after is to be predicted, nothing is both."""
    train, test = log(("old", "a", 1)), log(*((u, i, t) for u in ("old", "new") for t, i in enumerate("wxyz", 2)))

    found = {case.user: case for case in cases(train, test, fold_in=0.5)}

    assert found["old"] == Case("old", ("a", "w", "x"), frozenset("yz"), RETURNING)
    assert found["new"] == Case("new", ("w", "x"), frozenset("yz"), NEW)


def test_what_was_met_before_is_not_predicted() -> None:
    """Seen items are masked, so counting them as relevant would only lower every model alike."""
    assert cases(log(("u", "a", 1)), log(("u", "a", 2))) == []


def test_fallback_fills_what_is_left() -> None:
    """As serving does: what the model says first, then what everybody likes, nothing twice."""
    assert fill(["x"], ["y", "x", "z", "q"], 3) == ["x", "y", "z"]


@given(data=interactions())
def test_time_split_has_no_future_in_training(data: Interactions) -> None:
    """A leak here makes every figure a lie."""
    assume(
        len(set(data.occurred_at.tolist())) > 1 and data.occurred_at.min() < np.sort(data.occurred_at)[len(data) // 2]
    )

    train, test = split.by_time(data, 0.5)

    assert train.occurred_at.max() < test.occurred_at.min()
    assert len(train) + len(test) == len(data)


@given(data=interactions())
def test_leave_one_out_takes_everybodys_last(data: Interactions) -> None:
    """The published protocol of sequence models."""
    assume(len(data) > len(data.users))

    _, test = split.last_of_each(data)

    assert test.users == data.users
    assert {u: h[-1] for u, h in data.histories().items()} == {u: h[0] for u, h in test.histories().items()}


def test_a_split_that_leaves_nothing_is_refused() -> None:
    """All at one moment: there is no before and after."""
    with pytest.raises(Invalid, match="split"):
        split.by_time(log(("u", "a", 1), ("v", "b", 1)), 0.5)


def test_vocabulary_does_not_depend_on_arrival() -> None:
    """Partitions interleave differently each time; the artifact may not."""
    rows = [("u", "b", 1), ("v", "a", 2), ("u", "c", 3)]

    assert log(*rows).items == log(*reversed(rows)).items == ("a", "b", "c")
    assert log(*rows).histories() == {"u": ("b", "c"), "v": ("a",)}


def test_the_last_word_on_a_pair_counts() -> None:
    """Somebody rates again: one cell of the matrix, with the later value, whichever event arrived first."""
    data = Interactions.of(["u", "u"], ["a", "a"], [5.0, 2.0], [20, 10])

    assert data.matrix().toarray().tolist() == [[5.0]]
