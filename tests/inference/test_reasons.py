"""A reason is what an item's score really loses without an interaction, however the model adds up."""

from typing import Any

import numpy as np
import pytest

import inference.explaining.reasons
from inference.explaining.reasons import EMPTY, MOST, Reason, reasons
from inference.inputs import ModelInput, model_input
from inference.model import Model
from inference.scorer import OnnxScorer

from .reference import MODELS, toy

DATA = toy(users=30, items=40, rows=900)
HISTORY = max(DATA.histories().values(), key=lambda items: len(set(items)))


def scorer_of(model: Model[Any, Any]) -> OnnxScorer:
    return OnnxScorer(model.train(DATA, model.params, 20))


def losses(scorer: OnnxScorer, given: ModelInput, item: str) -> list[float]:
    """Left out one by one, as the definition says; slow and plain."""
    column, found = scorer.metadata.index[item], []
    whole = scorer.raw(given.ids, given.weights)
    for place in range(len(given.items)):
        ids = given.ids.copy()
        ids[0, place] = EMPTY
        without = scorer.raw(ids, given.weights)
        assert whole is not None
        assert without is not None
        found.append(float(whole[0, column] - without[0, column]))
    return found


def check(scorer: OnnxScorer, given: ModelInput, item: str, found: tuple[Reason, ...]) -> None:
    lost = losses(scorer, given, item)
    for reason in found:
        assert reason.score == pytest.approx(lost[given.items.index(reason.item_id)], rel=1e-2, abs=1e-5)
        assert reason.weight == given.weights[0, given.items.index(reason.item_id)]
    strongest = sorted((value for value in lost if value > 0), reverse=True)[:MOST]
    assert [reason.score for reason in found] == pytest.approx(strongest, rel=1e-2, abs=1e-5)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_reason_is_what_is_lost_without_it(model: Model[Any, Any]) -> None:
    """Of models that add up, by their parts; of others, by leaving out."""
    scorer = scorer_of(model)
    given = model_input(HISTORY, scorer.metadata)
    answered = [item for item, _ in scorer.score(HISTORY)][:5]
    found = reasons(scorer, given, answered)
    assert list(found) == answered
    for item in answered:
        check(scorer, given, item, found[item])


def test_of_an_artifact_without_a_name_for_its_scores_the_answer_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was made elsewhere only has to have the signature."""
    scorer = scorer_of(MODELS[0])
    given = model_input(HISTORY[:6], scorer.metadata)
    answered = [item for item, _ in scorer.score(HISTORY[:6])][:3]
    whole = reasons(scorer, given, answered)
    monkeypatch.setattr(OnnxScorer, "raw", lambda *_: None)
    found = reasons(scorer, given, answered)
    for item in answered:
        assert {reason.item_id for reason in found[item]} <= set(given.items)
        for reason in found[item]:
            same = [other.score for other in whole[item] if other.item_id == reason.item_id]
            assert not same or reason.score <= same[0] + 1e-5


def test_of_a_long_history_the_newest_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that does not add up would take seconds for thousands."""
    monkeypatch.setattr(inference.explaining.reasons, "LEFT_OUT", 4)
    monkeypatch.setattr(inference.explaining.reasons, "_near", lambda *_: False)
    scorer = scorer_of(MODELS[0])
    given = model_input(HISTORY, scorer.metadata)
    (item, found), *_ = reasons(scorer, given, [scorer.score(HISTORY)[0][0]]).items()
    assert {reason.item_id for reason in found} <= set(given.items[-4:])
    lost = losses(scorer, given, item)
    assert np.allclose([r.score for r in found], [lost[given.items.index(r.item_id)] for r in found], atol=1e-5)


def test_nothing_met_is_no_reason() -> None:
    """An empty history speaks for nothing."""
    scorer = scorer_of(MODELS[0])
    assert reasons(scorer, model_input((), scorer.metadata), ["i1"]) == {}
