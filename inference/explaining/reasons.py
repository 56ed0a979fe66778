"""Which past interactions speak for an item: what its score loses when each of them is left out.

Many models add up what each interaction says. Then what it says alone is what is lost without it, and one row of one
interaction for each is all that has to be scored. Whether a model is of that kind is not believed but tried on the very
history; of all others each interaction is really left out in turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.history import BUCKETS
from inference.inputs import ModelInput
from inference.interactions import Float32Array, Int32Array
from inference.scorer import OnnxScorer
from inference.training.evaluation import CELLS

MOST = 3
"""Reasons kept for each item."""

LEFT_OUT = 256
"""Newest interactions that are left out in turn, of a model that does not add up; more would take seconds."""

EMPTY = -1


@dataclass(frozen=True)
class Reason:
    """One past interaction.

    Attributes:
        item_id: what was met.
        weight: how much it counted in the model's input.
        score: by how much the answered item's score falls without it; where the scores of all items cannot be had, a
            lower bound when the item then falls out of the model's answer.
        interaction: where it stands in the log, `topic/partition/offset`; empty where nobody has looked.
    """

    item_id: str
    weight: float
    score: float
    interaction: str = ""


def reasons(scorer: OnnxScorer, given: ModelInput, answered: Sequence[str]) -> dict[str, tuple[Reason, ...]]:
    """For each answered item the interactions that speak most for it, the strongest first.

    The artifact itself is asked, with the weights that the interactions have in the whole history.
    """
    if not given.items or not answered:
        return {}
    columns = np.array([scorer.metadata.index[item] for item in answered])
    drops, first = _drops(scorer, given, columns)
    weights = given.weights[0]
    return {
        item: tuple(
            Reason(given.items[first + i], float(weights[first + i]), float(drops[i, place]))
            for i in np.argsort(-drops[:, place], kind="stable")[:MOST]
            if drops[i, place] > 0
        )
        for place, item in enumerate(answered)
    }


def _drops(scorer: OnnxScorer, given: ModelInput, columns: NDArray[np.int64]) -> tuple[Float32Array, int]:
    """What the answered items (columns) lose without each interaction (rows), and which interaction comes first."""
    count = len(given.items)
    whole = _scores(scorer, given.ids, given.weights, columns)
    alone = _alone(scorer, given, columns)
    strongest = int(np.argmax(alone[:, 0]))
    if _near(alone.sum(axis=0), whole[0]) and _near(alone[[strongest]], _without(scorer, given, [strongest], columns)):
        return alone, 0
    first = max(0, count - LEFT_OUT)
    return _without(scorer, given, range(first, count), columns), first


def _near(one: Float32Array, other: Float32Array) -> bool:
    return bool(np.allclose(one, other, rtol=1e-3, atol=1e-4 * max(1e-6, float(np.abs(other).max()))))


def _alone(scorer: OnnxScorer, given: ModelInput, columns: NDArray[np.int64]) -> Float32Array:
    """The scores that each interaction gives by itself, with its weight."""
    count = len(given.items)
    ids, weights = np.full((count, BUCKETS[0]), EMPTY, np.int32), np.zeros((count, BUCKETS[0]), np.float32)
    ids[:, 0], weights[:, 0] = given.ids[0, :count], given.weights[0, :count]
    return _scores(scorer, ids, weights, columns)


def _without(
    scorer: OnnxScorer, given: ModelInput, left_out: Sequence[int], columns: NDArray[np.int64]
) -> Float32Array:
    ids = np.repeat(given.ids, len(left_out), axis=0)
    ids[np.arange(len(left_out)), list(left_out)] = EMPTY
    whole = _scores(scorer, given.ids, given.weights, columns)
    return whole - _scores(scorer, ids, np.repeat(given.weights, len(left_out), axis=0), columns)


def _scores(scorer: OnnxScorer, ids: Int32Array, weights: Float32Array, columns: NDArray[np.int64]) -> Float32Array:
    """The scores of some items, a few rows at a time: memory is bounded."""
    rows = max(1, CELLS // (ids.shape[1] * (len(scorer.items) + 1)))
    parts = [_part(scorer, ids[at : at + rows], weights[at : at + rows], columns) for at in range(0, len(ids), rows)]
    return np.concatenate(parts)


def _part(scorer: OnnxScorer, ids: Int32Array, weights: Float32Array, columns: NDArray[np.int64]) -> Float32Array:
    every = scorer.raw(ids, weights)
    if every is not None:
        return every[:, columns]
    answers, scores = scorer.run(ids, weights)
    places = {int(column): place for place, column in enumerate(columns)}
    found = np.repeat(scores.min(axis=1, keepdims=True), len(columns), axis=1)
    for row, column in zip(*np.nonzero(np.isin(answers, columns)), strict=True):
        found[row, places[int(answers[row, column])]] = scores[row, column]
    return found
