"""SASRec: what it is trained on, and, where PyTorch is installed, that it learns and repeats itself."""

import importlib.util
import sys
from dataclasses import replace

import numpy as np
import pytest

from inference.interactions import Interactions
from inference.models import sasrec
from inference.models.sasrec import SasrecParams, initial, windows_of
from inference.scorer import OnnxScorer
from schemas.errors import Invalid

from .reference import attended

HAS_TORCH = importlib.util.find_spec("torch") is not None
SMALL = SasrecParams(window=8, width=16, blocks=1, epochs=60, batch=16, rate=0.01, dropout=0.1)


def ring(users: int = 40, items: int = 8, length: int = 9) -> Interactions:
    """People who go round a ring of items: what comes next is certain."""
    rows = [(f"u{user:02}", f"i{(user + step) % items}", step) for user in range(users) for step in range(length)]
    names, things, times = zip(*rows, strict=True)
    return Interactions.of(names, things, np.ones(len(rows)), times)


def test_histories_are_cut_into_windows_newest_first() -> None:
    """The first column is what follows the others; long histories give several windows that meet without a gap."""
    data = Interactions.of(["a"] * 6 + ["b"], [*"pqrstu", "p"], np.ones(7), np.arange(7))
    found = windows_of(data, 3).tolist()
    assert [[data.items[i] if i >= 0 else "" for i in row] for row in found] == [
        ["u", "t", "s", "r"],
        ["r", "q", "p", ""],
    ]


def test_nobody_with_two_interactions_is_told() -> None:
    """Nothing follows anything: there is nothing to learn."""
    data = Interactions.of(["a", "b"], ["x", "y"], np.ones(2), [1, 2])
    assert len(windows_of(data, 5)) == 0


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without the extra."""
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "inference.transformer", raising=False)
    return


@pytest.mark.usefixtures("without_torch")
def test_without_the_extra_it_says_what_to_install() -> None:
    """A training run fails with a sentence, not with a traceback."""
    with pytest.raises(Invalid, match="--extra torch"):
        sasrec.MODEL.train(ring(), SMALL, 5)


def test_the_network_reads_the_newest_items_alone() -> None:
    """A history longer than the window is answered as its end is."""
    data = ring()
    model = replace(sasrec.MODEL, params=SMALL, fit=lambda data, params: initial(len(data.items), params))
    network, scorer = model.fit(data, SMALL), OnnxScorer(model.train(data, SMALL, 8))
    ids = np.array([[3, 1, 4, 1, 5, 2, 6, 5, 3, 2, 7, 1]], np.int32)
    items, scores = scorer.run(ids, np.ones(ids.shape, np.float32))
    raw = attended(network, ids[0].tolist(), len(data.items))
    assert scores[0][items[0] >= 0].tolist() == pytest.approx([float(raw[i]) for i in items[0] if i >= 0], abs=1e-4)
    assert set(items[0].tolist()) == {0, -1}


@pytest.mark.skipif(not HAS_TORCH, reason="the extra torch is not installed; its CUDA libraries take gigabytes")
def test_it_learns_what_comes_next_and_repeats_itself() -> None:
    """Same data, same bytes on a CPU; and on a ring the next item is found from the last one alone."""
    data = ring()
    artifact = sasrec.MODEL.train(data, SMALL, 3)
    scorer = OnnxScorer(artifact)
    for place in range(8):
        history = [f"i{(place + step) % 8}" for step in range(4)]
        assert scorer.score(history)[0][0] == f"i{(place + 4) % 8}"
    import torch

    if not torch.cuda.is_available():
        assert artifact == sasrec.MODEL.train(data, SMALL, 3)


@pytest.mark.skipif(not HAS_TORCH, reason="the extra torch is not installed; its CUDA libraries take gigabytes")
def test_what_was_trained_is_what_serves() -> None:
    """PyTorch and the graph compute the same scores."""
    import torch

    from inference.transformer import read

    data = ring()
    network = sasrec.MODEL.fit(data, SMALL)
    weights = {name: torch.tensor(table) for name, table in network.tables.items()}
    window = torch.tensor([[4, 3, 2, -1, -1, -1, -1, -1]])
    said = (read(weights, window, SMALL.blocks)[0, 0] @ weights["items"].T).numpy()
    assert np.allclose(said, attended(network, [2, 3, 4], len(data.items)), atol=1e-4)
