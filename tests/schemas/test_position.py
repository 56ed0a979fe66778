"""Positions as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import Invalid
from schemas.position import Position
from schemas.topics import TOPICS

positions = st.builds(Position, st.sampled_from(sorted(TOPICS)), st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1))


@given(positions)
def test_a_position_comes_back_as_it_went(position: Position) -> None:
    """It travels through answers, query strings and manifests."""
    assert Position.parse(str(position)) == position


@given(positions, positions)
def test_positions_of_a_partition_are_ordered_by_offset(one: Position, other: Position) -> None:
    """`min-position` compares them."""
    if (one.topic, one.partition) == (other.topic, other.partition):
        assert (one < other) == (one.offset < other.offset)


@pytest.mark.parametrize(
    "text", ["", "/", "topic", "topic/1", "topic//1", "/1/2", "topic/-1/2", "topic/1/2/3", "topic/1/x", "topic/²/1"]
)
def test_another_form_is_invalid_and_says_which_is_right(text: str) -> None:
    """It comes from a query string: the answer is a 422 that helps."""
    with pytest.raises(Invalid, match="topic/partition/offset") as caught:
        Position.parse(text)
    assert caught.value.code == "bad_position"
