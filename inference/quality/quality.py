"""Our rows of the tables: choose, fit again on all that may be known, ask the artifact as serving would, measure."""

import time
from collections.abc import Callable, Mapping
from statistics import fmean
from typing import Any

from inference.evaluation import Evaluation, Metrics, fill, measured, rank, shares
from inference.model import Model
from inference.models import popularity
from inference.quality.candidates import Grid, grids
from inference.quality.formats import Data
from inference.quality.protocols import Protocol, Task, protocol_of
from inference.quality.published import published
from inference.scorer import OnnxScorer

DEPTHS = (10, 20)
"""Places that are measured."""

NAMES = {
    "recall": "recall",
    "precision": "precision",
    "hit_rate": "hr",
    "ndcg": "ndcg",
    "coverage": "coverage",
    "novelty": "novelty",
}
"""Fields of `Metrics` as tables call them."""

Tell = Callable[[str], None]


def rows_of(data: Data, tell: Tell = lambda _: None) -> list[dict[str, Any]]:
    """Our rows for a data set, then those of others.

    Args:
        tell: hears what is being done.

    Raises:
        Invalid: the data are too few for their protocol.
    """
    protocol = protocol_of(data)
    ours = []
    for model, grid in grids(protocol):
        tell(f"{protocol.name}: choosing the hyper-parameters of {model.name} among {len(grid)}")
        chosen = choose(protocol, model, grid)
        tell(f"{protocol.name}: fitting {model.name} with {chosen}")
        ours.append(_row(protocol, model, chosen))
    return [*ours, *published(protocol)]


def choose(protocol: Protocol, model: Model[Any, Any], grid: Grid) -> Mapping[str, Any]:
    """The hyper-parameters that are best where nothing of the report is seen; the first of equals."""
    if len(grid) == 1:
        return grid[0]
    return max(grid, key=lambda params: _goal(protocol, asked(protocol.choice, model, params)[0]))


def asked(task: Task, model: Model[Any, Any], params: Mapping[str, Any]) -> tuple[dict[int, Evaluation], float]:
    """Evaluations of a fit by depth, and how long the fit took in seconds; empty places are filled by popularity."""
    began = time.perf_counter()
    artifact = model.train(task.train, model.configure(params), max(DEPTHS))
    fit_s = time.perf_counter() - began
    answers = rank(OnnxScorer(artifact), task.cases)
    if any(len(answer) < max(DEPTHS) for answer in answers):
        last = OnnxScorer(popularity.MODEL.train(task.train, popularity.MODEL.params, max(DEPTHS)))
        answers = [fill(a, b, max(DEPTHS)) for a, b in zip(answers, rank(last, task.cases), strict=True)]
    known = shares(task.train)
    return {k: measured(task.cases, answers, k, known) for k in DEPTHS}, fit_s


def _goal(protocol: Protocol, evaluations: Mapping[int, Evaluation]) -> float:
    return fmean(getattr(evaluations[k].overall, name) for name, k in protocol.goal)


def _row(protocol: Protocol, model: Model[Any, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    evaluations, fit_s = asked(protocol.report, model, params)
    depths = evaluations.items()
    segments = sorted(evaluations[DEPTHS[0]].segments)
    return {
        "dataset": protocol.name,
        "model": model.name,
        "ours": True,
        "params": dict(params),
        "protocol": protocol.says,
        "users": evaluations[DEPTHS[0]].overall.users,
        "fit_s": round(fit_s, 3),
        **{name: value for k, one in depths for name, value in _numbers(one.overall, k).items()},
        "segments": {
            segment: {"users": evaluations[DEPTHS[0]].segments[segment].users}
            | {name: value for k, one in depths for name, value in _numbers(one.segments[segment], k).items()}
            for segment in segments
        },
    }


def _numbers(metrics: Metrics, k: int) -> dict[str, float]:
    return {f"{shown}@{k}": round(getattr(metrics, name), 6) for name, shown in NAMES.items()}
