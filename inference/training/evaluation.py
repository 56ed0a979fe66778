"""How good are the answers: ranking quality, coverage and novelty, for everybody and by segment.

An artifact is asked just as serving asks it. All items are ranked (no sampled metrics, see Krichene and Rendle 2020),
what is in the history is masked, and means are over users.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import numpy as np

from inference.history import bucket, known, pad
from inference.interactions import Interactions
from inference.scorer import OnnxScorer
from schemas.errors import Invalid

CELLS = 1 << 24
"""Most cells (rows x history x items) of one batch: bounds the memory of a model that gathers a row per item."""

NEW, RETURNING = "new", "returning"


@dataclass(frozen=True)
class Case:
    """One user to predict for.

    Args:
        user: whose case it is.
        history: what the model may see, oldest first.
        relevant: what the user then chose; never empty, and nothing of the history.
        segment: `new` when the user was not in the training data, else `returning`.
    """

    user: str
    history: tuple[str, ...]
    relevant: frozenset[str]
    segment: str


@dataclass(frozen=True)
class Metrics:
    """Means over `users` cases; all but `users` and `novelty` lie in [0, 1].

    Args:
        users: number of cases.
        recall: share of the relevant items that were answered.
        precision: share of the k places that hold a relevant item.
        hit_rate: share of users with at least one relevant item in their answer.
        ndcg: discounted gain over that of the best possible answer.
        coverage: share of the vocabulary that was answered to anybody.
        novelty: mean self-information of the answered items in bits, by the share of training users who met them.
        answered: share of the k places that were filled.
    """

    users: int
    recall: float
    precision: float
    hit_rate: float
    ndcg: float
    coverage: float
    novelty: float
    answered: float


@dataclass(frozen=True)
class Evaluation:
    """Metrics at `k`, over all cases and by segment."""

    k: int
    overall: Metrics
    segments: Mapping[str, Metrics]

    def as_dict(self) -> dict[str, Any]:
        """As plain values, for an event or a table."""
        return asdict(self)


def cases(train: Interactions, test: Interactions, *, fold_in: float = 0.0) -> list[Case]:
    """A case per user of `test` who chose something not met before.

    Args:
        train: gives the histories.
        test: gives what is to be predicted.
        fold_in: share of each user's test interactions, the earliest, that the model sees as live history although it
            was not trained on them; what then follows is to be predicted. 0 shows the training part alone.
    """
    before = train.histories()
    found = (_case(user, before.get(user), later, fold_in) for user, later in test.histories().items())
    return [case for case in found if case.relevant]


def _case(user: str, before: tuple[str, ...] | None, later: tuple[str, ...], fold_in: float) -> Case:
    shown = math.floor(len(later) * fold_in)
    history = (before or ()) + later[:shown]
    return Case(user, history, frozenset(later[shown:]) - frozenset(history), NEW if before is None else RETURNING)


def evaluate(
    scorer: OnnxScorer,
    cases: Sequence[Case],
    k: int,
    popularity: Mapping[str, float],
    fallback: OnnxScorer | None = None,
) -> Evaluation:
    """Ask the artifact for every case and measure the answers.

    Args:
        scorer: the artifact; its own k must be `k` or more, or all items.
        cases: whom to ask for.
        k: places measured.
        popularity: share of the training users who met each item; see `shares`.
        fallback: fills the places the artifact leaves empty, as serving does.

    Raises:
        Invalid: there are no cases.
    """
    if not cases:
        raise Invalid("no user has anything to predict: use a larger test share", code="empty_split")
    answers = rank(scorer, cases)
    if fallback is not None:
        answers = [fill(a, b, k) for a, b in zip(answers, rank(fallback, cases), strict=True)]
    return measured(cases, answers, k, popularity)


def measured(
    cases: Sequence[Case], answers: Sequence[Sequence[str]], k: int, popularity: Mapping[str, float]
) -> Evaluation:
    """Metrics of the first `k` of these answers, one for each case; there must be a case."""
    answers = [answer[:k] for answer in answers]
    segments = {
        segment: _measure([(c, a) for c, a in zip(cases, answers, strict=True) if c.segment == segment], k, popularity)
        for segment in sorted({case.segment for case in cases})
    }
    return Evaluation(k, _measure(list(zip(cases, answers, strict=True)), k, popularity), segments)


def rank(scorer: OnnxScorer, cases: Sequence[Case]) -> list[list[str]]:
    """The answer for each case, best first; histories of like length are asked together."""
    encoded = [known(case.history, scorer.metadata.index) for case in cases]
    order = sorted(range(len(cases)), key=lambda i: bucket(len(encoded[i])))
    answers: list[list[str]] = [[] for _ in cases]
    for size, group in groupby(order, key=lambda i: bucket(len(encoded[i]))):
        for rows in _chunks(list(group), max(1, CELLS // (size * (len(scorer.items) + 1)))):
            for row, answer in zip(rows, _ask(scorer, [encoded[i] for i in rows], size), strict=True):
                answers[row] = answer
    return answers


def fill(answer: Sequence[str], fallback: Sequence[str], k: int) -> list[str]:
    """`answer`, then what `fallback` adds to it, `k` items in all."""
    return list(dict.fromkeys([*answer, *fallback]))[:k]


def shares(train: Interactions) -> dict[str, float]:
    """Share of the users who met each item."""
    met_by = np.bincount(train.matrix().indices, minlength=len(train.items))
    return {item: float(n) / len(train.users) for item, n in zip(train.items, met_by, strict=True)}


def _ask(scorer: OnnxScorer, histories: Sequence[Sequence[int]], size: int) -> list[list[str]]:
    item_ids, _ = scorer.run(*pad(histories, size, scorer.metadata.decay))
    return [[scorer.items[i] for i in row if i >= 0] for row in item_ids.tolist()]


def _chunks(rows: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _measure(answered: Sequence[tuple[Case, Sequence[str]]], k: int, popularity: Mapping[str, float]) -> Metrics:
    users = len(answered)
    hits = [[item in case.relevant for item in answer] for case, answer in answered]
    relevant = [len(case.relevant) for case, _ in answered]
    given = [item for _, answer in answered for item in answer]
    return Metrics(
        users=users,
        recall=math.fsum(sum(h) / n for h, n in zip(hits, relevant, strict=True)) / users,
        precision=sum(sum(h) for h in hits) / (users * k),
        hit_rate=sum(any(h) for h in hits) / users,
        ndcg=math.fsum(ndcg(h, n, k) for h, n in zip(hits, relevant, strict=True)) / users,
        coverage=len(set(given)) / max(1, len(popularity)),
        novelty=math.fsum(-math.log2(popularity[item]) for item in given) / max(1, len(given)),
        answered=len(given) / (users * k),
    )


def ndcg(hits: Sequence[bool], relevant: int, k: int) -> float:
    """Normalised discounted cumulative gain at `k`, binary relevance.

    Args:
        hits: whether each answered item is relevant, best first.
        relevant: how many relevant items there are; at least 1.
        k: places of an answer.

    Source: Järvelin and Kekäläinen 2002, with the logarithm of rank + 1 from the first place on.
    """
    gain = math.fsum(1 / math.log2(rank + 2) for rank, hit in enumerate(hits) if hit)
    return gain / math.fsum(1 / math.log2(rank + 2) for rank in range(min(relevant, k)))
