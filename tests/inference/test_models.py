"""Every model: its graph computes what it says, repeats byte for byte, and does not care who else is in the batch."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import inference.models
from inference.interactions import Interactions
from inference.model import Model
from inference.models.ease import EaseParams
from inference.models.item_to_item import ItemToItemParams, cosine, transitions
from inference.models.popularity import PopularityParams, fit
from inference.scorer import OnnxScorer
from infra.discover import discover
from schemas.errors import Invalid

from .reference import DAY_US, MODELS, agrees, expected, histories, interactions, toy

each_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: str(model.name))


def answer(scorer: OnnxScorer, ids: Any, weights: Any, row: int = 0) -> list[tuple[int, float]]:
    item_ids, scores = scorer.run(ids, weights)
    return [(int(i), float(s)) for i, s in zip(item_ids[row], scores[row], strict=True)]


def test_models_are_found_by_their_files() -> None:
    """A new model is one file: nobody keeps a list."""
    assert set(discover(inference.models, Model)) == {model.name for model in MODELS}


@each_model
@given(data=interactions(), history=histories, k=st.integers(1, 12))
def test_graph_equals_its_definition(model: Model[Any, Any], data: Interactions, history: list[str], k: int) -> None:
    """The exported graph is what serves; it must be the model, to the last bit where that can be, for any history."""
    scorer = OnnxScorer(model.train(data, model.params, k))
    ids, strengths = scorer.metadata.encode(history)
    n = int((ids >= 0).sum())
    k = min(k, len(data.items))

    wanted = expected(model.fit(data, model.params), ids[0, :n].tolist(), strengths[0, :n], len(data.items), k)

    empty = [(-1, 0.0)] * (k - len(wanted))
    assert agrees(model, answer(scorer, ids, strengths), wanted + empty)


@each_model
@given(data=interactions(), some=st.lists(histories, min_size=2, max_size=5), extra=st.integers(0, 40))
def test_answer_does_not_depend_on_batch_or_padding(
    model: Model[Any, Any], data: Interactions, some: list[list[str]], extra: int
) -> None:
    """An explanation runs one request alone; it must get the bits that were served in company."""
    scorer = OnnxScorer(model.train(data, model.params, 5))
    encoded = [scorer.metadata.encode(history) for history in some]
    width = max(ids.shape[1] for ids, _ in encoded) + extra
    ids = np.concatenate([np.pad(i, ((0, 0), (0, width - i.shape[1])), constant_values=-1) for i, _ in encoded])
    weights = np.concatenate([np.pad(w, ((0, 0), (0, width - w.shape[1]))) for _, w in encoded])

    together = [answer(scorer, ids, weights, row) for row in range(len(some))]

    assert together == [answer(scorer, *alone) for alone in encoded]


@each_model
@given(data=interactions())
def test_same_data_gives_the_same_bytes(model: Model[Any, Any], data: Interactions) -> None:
    """`train --verify` compares artifact hashes: nothing but the data may get into the file."""
    assert model.train(data, model.params, 5) == model.train(data, model.params, 5)


def test_bytes_do_not_depend_on_the_process() -> None:
    """A verifying process has another hash seed and maybe another number of BLAS threads."""
    program = """
import hashlib
from tests.inference.reference import MODELS, toy
data = toy(users=300, items=400, rows=9000)
print([hashlib.sha256(model.train(data, model.params, 5)).hexdigest() for model in MODELS])
"""
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "OPENBLAS_NUM_THREADS": threads, "PYTHONPATH": "."},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            check=True,
        ).stdout
        for seed, threads in (("1", "1"), ("2", "2"))
    }
    assert len(said) == 1


@each_model
@given(data=interactions(), history=histories)
def test_seen_items_are_never_answered(model: Model[Any, Any], data: Interactions, history: list[str]) -> None:
    """Nobody wants to be recommended what they just bought."""
    scorer = OnnxScorer(model.train(data, model.params, 100))

    assert not {item for item, _ in scorer.score(history)} & set(history)
    assert scorer.score(data.items) == []


@each_model
def test_padding_with_a_weight_and_foreign_indices_count_as_nothing(model: Model[Any, Any]) -> None:
    """A careless client must not crash a model or shift anybody's scores."""
    data = toy()
    scorer = OnnxScorer(model.train(data, model.params, 5))
    clean = np.array([[3, 4, -1, -1]], np.int32), np.array([[0.5, 1, 0, 0]], np.float32)
    careless = np.array([[3, 4, -7, 9999]], np.int32), np.array([[0.5, 1, 2, 3]], np.float32)

    assert answer(scorer, *careless) == answer(scorer, *clean)


@pytest.mark.parametrize("model", [m for m in MODELS if m.name != "popularity"], ids=lambda model: str(model.name))
def test_a_history_that_says_nothing_gives_no_answer(model: Model[Any, Any]) -> None:
    """The fallback is chosen by serving and recorded; a model that invented an answer would hide it."""
    scorer = OnnxScorer(model.train(toy(), model.params, 5))

    assert scorer.score([]) == []
    assert scorer.score(["never heard of"]) == []


def test_equal_scores_are_ordered_by_index() -> None:
    """Ties are common among rare items; an answer that flickers cannot be explained."""
    data = Interactions.of(["a", "b", "c", "d"], ["i4", "i2", "i3", "i1"], np.ones(4), np.zeros(4, np.int64))
    scorer = OnnxScorer(MODELS[2].train(data, MODELS[2].params, 4))

    assert [item for item, _ in scorer.score([])] == ["i1", "i2", "i3", "i4"]


def test_popularity_halves_with_age() -> None:
    """Last year's hit is not this week's."""
    data = Interactions.of(["a", "b", "c"], ["old", "old", "new"], np.ones(3), np.array([0, 0, 10 * DAY_US]))

    assert fit(data, PopularityParams(half_life_days=10)).tolist() == [1.0, 1.0]
    assert fit(data, PopularityParams(half_life_days=0)).tolist() == [1.0, 2.0]


def test_cosine_and_transitions_by_hand() -> None:
    """Two users: one met x then y, the other x then z; x is shared."""
    data = Interactions.of(["a", "a", "b", "b"], ["x", "y", "x", "z"], np.ones(4), np.arange(4))

    half = 1 / np.sqrt(2)
    assert np.allclose(cosine(data).toarray(), [[0, half, half], [half, 0, 0], [half, 0, 0]])
    assert transitions(data).toarray().tolist() == [[0, 0.5, 0.5], [0, 0, 0], [0, 0, 0]]


def test_transitions_follow_time_not_arrival() -> None:
    """Events arrive late; what followed what is decided by when it happened."""
    data = Interactions.of(["a", "a"], ["second", "first"], np.ones(2), np.array([20, 10]))

    assert transitions(data).toarray()[data.items.index("first"), data.items.index("second")] == 1


@given(data=interactions())
def test_ease_is_the_minimum_of_its_objective(data: Interactions) -> None:
    """Steck's closed form: the gradient of the penalised error is zero off the diagonal."""
    model = MODELS[0]
    weights = model.fit(data, EaseParams(l2=3.0)).astype(np.float64)
    matrix = data.matrix().toarray()

    gradient = matrix.T @ (matrix @ weights - matrix) + 3.0 * weights

    assert np.allclose(gradient - np.diag(np.diag(gradient)), 0, atol=1e-4)
    assert np.all(np.diag(weights) == 0)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"lambda": 1}, "unknown parameter 'lambda', known are neighbours, decay, transition_weight"),
        ({"neighbours": 2.5}, "whole number"),
        ({"decay": "fast"}, "must be a number"),
        ({"decay": True}, "must be a number"),
        ({"decay": 1.5}, "decay in (0, 1]"),
    ],
)
def test_wrong_parameters_are_named(values: dict[str, Any], said: str) -> None:
    """Parameters come from a command: a typo must not train a default model in silence."""
    with pytest.raises(Invalid) as caught:
        MODELS[1].configure(values)
    assert said in caught.value.detail


def test_parameters_are_put_over_the_defaults() -> None:
    """What a command leaves out has its documented default."""
    assert MODELS[1].configure({"decay": 1}) == ItemToItemParams(decay=1.0)


@pytest.mark.parametrize(("weight", "k"), [(math.nan, 5), (math.inf, 5), (1.0, 0)])
def test_senseless_training_is_refused(weight: float, k: int) -> None:
    """One NaN would spread through every weight of EASE, unseen until it serves."""
    data = Interactions.of(["u", "u"], ["a", "b"], [1.0, weight], [0, 1])

    with pytest.raises(Invalid):
        MODELS[0].train(data, MODELS[0].params, k)


@each_model
def test_empty_dataset_is_refused(model: Model[Any, Any]) -> None:
    """A filter that leaves nothing is a mistake, not a model."""
    with pytest.raises(Invalid, match="no interactions"):
        model.train(Interactions.of([], [], [], []), model.params, 5)
