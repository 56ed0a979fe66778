"""From a fixed part of the log to an artifact and its metrics: the same each time, so that a run can be verified."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import inference.models
from inference.datasets.dataset import Dataset, build
from inference.interactions import Interactions
from inference.model import Model
from inference.models.popularity import MODEL as POPULARITY
from inference.scorer import OnnxScorer
from inference.training.evaluation import Evaluation, cases, evaluate, shares
from inference.training.split import by_time
from inference.training.told import Built, Measured, Progressed, Step, Tell, epochs, silent
from infra.discover import discover
from infra.kafka.records import Decoder
from infra.kafka.replay import Progress
from infra.settings import Settings
from schemas.errors import Invalid
from schemas.models import OffsetRange

TEST_SHARE = 0.1
"""The latest part of the interactions, held out for the metrics; the artifact itself is fitted on all of them."""

FOLD_IN = 0.5
"""How much of a user's held-out interactions the model sees as live history, as it does when it serves."""

PLACES = 10
MEASURES = ("recall", "precision", "hit_rate", "ndcg", "coverage", "novelty")


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a run makes.

    Attributes:
        metrics: `ndcg@10` and the like for all users, `ndcg@10.new` for a segment; empty when there was too little data
            to hold any out.
    """

    dataset: Dataset
    artifact: bytes
    metrics: Mapping[str, float]


async def fit_on_log(
    settings: Settings,
    decoder: Decoder,
    ranges: Sequence[OffsetRange],
    algorithm: str,
    params: Mapping[str, str],
    k: int,
    tell: Tell = silent,
) -> Fitted:
    """Build the dataset by replay, fit on all of it, measure on its held-out end.

    Args:
        tell: hears how far it is, from this thread and from others.

    Raises:
        Invalid: there is no such algorithm or parameter, the data do not suffice, or a range is not in the log.
        Incompatible: an event cannot be read.
        Unavailable: brokers or registry do not answer.
    """
    model = named(algorithm)
    configured = model.configure(numbers(params))
    tell(Progressed("reading"))
    dataset = await build(settings, decoder, ranges, lambda progress: tell(_read(progress)))
    tell(Built(dataset.manifest))
    return await asyncio.to_thread(_fit, model, configured, dataset, k, tell)


def _read(progress: Progress) -> Progressed:
    return Progressed("reading", progress.done, progress.total, progress.size_bytes)


def named(algorithm: str) -> Model[Any, Any]:
    """The model declared under this name.

    Raises:
        Invalid: there is none.
    """
    declared = discover(inference.models, Model)
    if algorithm not in declared:
        raise Invalid(
            f"there is no algorithm '{algorithm}'; there are {', '.join(sorted(declared))}", code="unknown_algorithm"
        )
    return declared[algorithm]


def numbers(params: Mapping[str, str]) -> dict[str, int | float]:
    """Hyper-parameters as numbers; events and command lines carry them as text.

    Raises:
        Invalid: one is no number.
    """
    return {name: _number(name, text) for name, text in params.items()}


def _number(name: str, text: str) -> int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise Invalid(f"hyper-parameter {name} must be a number, not '{text}'", code="model_params")


def _fit(model: Model[Any, Any], params: Any, dataset: Dataset, k: int, tell: Tell) -> Fitted:
    data = dataset.interactions
    with _told("fitting", tell):
        artifact = model.train(data, params, k)
    with _told("evaluating", tell):
        metrics = _metrics(model, params, data)
    tell(Measured(metrics))
    return Fitted(dataset, artifact, metrics)


@contextmanager
def _told(step: Step, tell: Tell) -> Iterator[None]:
    """Tell that a step begins, and how many epochs of it have passed."""
    tell(Progressed(step))
    percent = 0

    def listen(done: int, total: int) -> None:
        nonlocal percent
        if (now := 100 * done // max(total, 1)) > percent:
            percent = now
            tell(Progressed(step, done, total))

    with epochs(listen):
        yield


def _metrics(model: Model[Any, Any], params: Any, data: Interactions) -> dict[str, float]:
    """Metrics of the same model fitted without the held-out end."""
    try:
        train, test = by_time(data, TEST_SHARE)
        asked = cases(train, test, fold_in=FOLD_IN)
        scorer = OnnxScorer(model.train(train, params, PLACES))
        popular = OnnxScorer(POPULARITY.train(train, POPULARITY.params, PLACES))
        return _flat(evaluate(scorer, asked, PLACES, shares(train), popular))
    except Invalid as problem:
        if problem.code != "empty_split":
            raise
        return {}


def _flat(evaluation: Evaluation) -> dict[str, float]:
    parts = {"": evaluation.overall, **{f".{name}": part for name, part in evaluation.segments.items()}}
    return {
        f"{measure}@{evaluation.k}{suffix}": float(getattr(part, measure))
        for suffix, part in parts.items()
        for measure in MEASURES
    }
