"""Which past interactions speak for an item: what its score loses when each of them is left out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inference.evaluation import CELLS
from inference.inputs import ModelInput
from inference.interactions import Float32Array
from inference.scorer import OnnxScorer

MOST = 3
"""Reasons kept for each item."""

EMPTY = -1


@dataclass(frozen=True)
class Reason:
    """One past interaction.

    Attributes:
        item_id: what was met.
        weight: how much it counted in the model's input.
        score: by how much the answered item's score falls without it; a lower bound where the item then falls out of
            the model's answer.
    """

    item_id: str
    weight: float
    score: float


def reasons(scorer: OnnxScorer, given: ModelInput, answered: Sequence[str]) -> dict[str, tuple[Reason, ...]]:
    """For each answered item the interactions that speak most for it, the strongest first.

    Each interaction is left out in turn, the others keep their weights; the artifact itself is asked.
    """
    if not given.items or not answered:
        return {}
    places = {scorer.metadata.index[item]: place for place, item in enumerate(answered)}
    whole = _scores(scorer, given, [None], places)[0]
    without = _scores(scorer, given, list(range(len(given.items))), places)
    drops = whole[np.newaxis] - without
    weights = given.weights[0]
    return {
        item: tuple(
            Reason(given.items[i], float(weights[i]), float(drops[i, place]))
            for i in np.argsort(-drops[:, place], kind="stable")[:MOST]
            if drops[i, place] > 0
        )
        for place, item in enumerate(answered)
    }


def _scores(
    scorer: OnnxScorer, given: ModelInput, left_out: Sequence[int | None], places: dict[int, int]
) -> Float32Array:
    """Score of each answered item (columns) with one place of the history empty (rows)."""
    rows = max(1, CELLS // (given.ids.shape[1] * (len(scorer.items) + 1)))
    parts = [_part(scorer, given, left_out[at : at + rows], places) for at in range(0, len(left_out), rows)]
    return np.concatenate(parts)


def _part(
    scorer: OnnxScorer, given: ModelInput, left_out: Sequence[int | None], places: dict[int, int]
) -> Float32Array:
    ids = np.repeat(given.ids, len(left_out), axis=0)
    for row, place in enumerate(left_out):
        if place is not None:
            ids[row, place] = EMPTY
    answers, scores = scorer.run(ids, np.repeat(given.weights, len(left_out), axis=0))
    found = np.repeat(scores.min(axis=1, keepdims=True), len(places), axis=1)
    for row, column in zip(*np.nonzero(np.isin(answers, list(places))), strict=True):
        found[row, places[int(answers[row, column])]] = scores[row, column]
    return found
