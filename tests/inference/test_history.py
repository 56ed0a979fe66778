"""A history as tensors: serving, explanation and evaluation must build the very same ones."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from inference.history import BUCKETS, bucket, encode, history_weights, known

INDEX = {f"i{n}": n for n in range(5000)}


def test_newest_weighs_one_and_each_older_one_less() -> None:
    """Recency by order, worked by hand."""
    assert history_weights(3, 0.5).tolist() == [0.25, 0.5, 1.0]
    assert history_weights(0, 0.5).tolist() == []


def test_unknown_items_are_left_out_and_repeats_stand_where_they_were_last() -> None:
    """An item counts once, as recently as it was last met; an unknown one does not make the others older."""
    assert known(["i1", "i2", "alien", "i1", "i3"], INDEX) == [2, 1, 3]


def test_places_left_over_are_padding() -> None:
    """The signature's padding: -1 with weight 0."""
    ids, weights = encode(["i7", "i9"], INDEX, 0.5)

    assert ids.tolist() == [[7, 9, -1, -1, -1, -1, -1, -1]]
    assert weights.tolist() == [[0.5, 1, 0, 0, 0, 0, 0, 0]]


def test_a_history_past_the_largest_bucket_keeps_its_newest() -> None:
    """Somebody has watched everything; the request stays bounded."""
    ids, _ = encode([f"i{n}" for n in range(3000)], INDEX, 1.0)

    assert ids.shape == (1, BUCKETS[-1])
    assert ids[0, -1] == 2999
    assert ids[0, 0] == 3000 - BUCKETS[-1]


@given(st.lists(st.integers(0, 30).map(lambda n: f"i{n}")), st.floats(0.1, 1))
def test_shapes_are_buckets_and_types_are_the_signature(history: list[str], decay: float) -> None:
    """Few shapes, fixed types: what a server was warmed up with."""
    ids, weights = encode(history, INDEX, decay)

    assert ids.shape == weights.shape == (1, bucket(len(set(history))))
    assert (ids.dtype, weights.dtype) == (np.dtype("int32"), np.dtype("float32"))
    assert ((ids == -1) == (weights == 0)).all()
