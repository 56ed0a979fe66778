"""Our rows of the tables: choose, fit again on all that may be known, ask the artifact as serving would, measure."""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from inference.model import Model
from inference.models import popularity
from inference.quality.candidates import Candidate, Grid, baselines, candidates
from inference.quality.formats import Data
from inference.quality.protocols import HR_10, NDCG_10, NDCG_20, RECALL_20, Protocol, Task, protocol_of
from inference.quality.published import published
from inference.scorer import OnnxScorer
from inference.training.evaluation import Evaluation, Metrics, fill, measured, rank, shares

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

SHOWN = (RECALL_20, NDCG_20, HR_10, NDCG_10)
"""What tables show of how good a model is."""

FEWEST = 20
"""Users of a segment below which its metrics are chance."""

LEAST = 1e-6
"""Keeps a quotient finite."""

Tell = Callable[[str], None]
Floor = dict[tuple[str, str, int], float]


def rows_of(data: Data, tell: Tell = lambda _: None, *, sequence_model: bool = False) -> list[dict[str, Any]]:
    """Our rows for a data set, then those of others.

    Args:
        tell: hears what is being done.
        sequence_model: whether SASRec is to be trained, too.

    Raises:
        Invalid: the data are too few for their protocol, or SASRec is wanted without the extra `torch`.
    """
    protocol = protocol_of(data)
    floors = floors_of(protocol)
    ours = []
    for one in candidates(protocol, sequence_model=sequence_model):
        tell(f"{protocol.name}: choosing the hyper-parameters of {one.name} among {len(one.grid)}")
        chosen = choose(protocol, one.model, one.grid, floors)
        tell(f"{protocol.name}: fitting {one.name} with {dict(chosen)}")
        ours.append(_row(protocol, one, chosen))
    return [*ours, *published(protocol)]


def choose(
    protocol: Protocol, model: Model[Any, Any], grid: Grid, floors: Sequence[Floor] | None = None
) -> Mapping[str, Any]:
    """The hyper-parameters that are best where nothing of the report is seen; the first of equals.

    Args:
        floors: what popularity reaches at each choice, if everybody has to be better off than with it: then the
            smallest advantage over it is what counts, of any metric for any segment at any choice.
    """
    if len(grid) == 1:
        return grid[0]

    def worth(params: Mapping[str, Any]) -> float:
        found = [asked(task, model, params)[0] for task in protocol.choices]
        if floors is None:
            return fmean(_goal(protocol, one) for one in found)
        return min(_advantage(one, floor) for one, floor in zip(found, floors, strict=True))

    return max(grid, key=worth)


def floors_of(protocol: Protocol) -> list[Floor] | None:
    """What popularity, of ever or of lately, reaches in each segment; None where all users are of one."""
    if len({case.segment for task in protocol.choices for case in task.cases}) < 2:
        return None
    return [_floor(protocol, task) for task in protocol.choices]


def _floor(protocol: Protocol, task: Task) -> Floor:
    best: Floor = {}
    for one in baselines(protocol):
        for params in one.grid:
            measures = _measures(asked(task, one.model, params)[0])
            best = {key: max(value, best.get(key, 0.0)) for key, value in measures.items()}
    return best


def _measures(evaluations: Mapping[int, Evaluation]) -> Floor:
    """The metrics that a table shows, by segment; of segments that are not too small to tell anything."""
    return {
        (segment, name, k): getattr(metrics, name)
        for name, k in SHOWN
        for segment, metrics in evaluations[k].segments.items()
        if metrics.users >= FEWEST
    }


def _advantage(evaluations: Mapping[int, Evaluation], floor: Floor) -> float:
    ratios = [value / max(floor[key], LEAST) for key, value in _measures(evaluations).items()]
    return min(ratios, default=1.0)


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


def _row(protocol: Protocol, candidate: Candidate, params: Mapping[str, Any]) -> dict[str, Any]:
    evaluations, fit_s = asked(protocol.report, candidate.model, params)
    depths = evaluations.items()
    segments = sorted(evaluations[DEPTHS[0]].segments)
    return {
        "dataset": protocol.name,
        "model": candidate.name,
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
