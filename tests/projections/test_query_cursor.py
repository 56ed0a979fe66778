"""Cursors: good for the query they came from, and for nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.routes.cursor import LONGEST, Pages
from schemas.errors import Invalid

SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=40)
PLACES = st.lists(SCALARS, max_size=4)
FILTERS = st.dictionaries(st.sampled_from(["category", "status", "until"]), st.text(max_size=8), max_size=3)


@given(st.text(max_size=30), FILTERS, PLACES)
def test_a_cursor_says_where_its_page_ended(query: str, filters: dict[str, str], place: list[object]) -> None:
    """Whatever the sort values are, the next page begins after them."""
    pages = Pages.of(query, **filters)
    assert pages.place(pages.after(*place)) == place


@given(FILTERS, FILTERS, PLACES)
def test_a_cursor_of_another_query_is_refused(one: dict[str, str], other: dict[str, str], place: list[object]) -> None:
    """Under other filters its place means nothing: rows would be skipped in silence."""
    cursor = Pages.of("/items", **one).after(*place)
    for pages in (Pages.of("/items", **other), Pages.of("/schedules", **one)):
        if pages != Pages.of("/items", **one):
            with pytest.raises(Invalid) as refused:
                pages.place(cursor)
            assert refused.value.code == "cursor_of_another_query"


@given(PLACES, st.data())
def test_a_damaged_cursor_is_refused(place: list[object], data: st.DataObject) -> None:
    """One changed character must not send a reader somewhere else."""
    pages = Pages.of("/items")
    cursor = pages.after(*place)
    at = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(st.characters().filter(lambda c: c != cursor[at]))
    with pytest.raises(Invalid) as refused:
        pages.place(cursor[:at] + other + cursor[at + 1 :])
    assert refused.value.code == "bad_cursor"


@given(st.text(max_size=60))
def test_any_text_is_a_cursor_or_a_problem(text: str) -> None:
    """Nothing that a client sends is a fault of ours."""
    with pytest.raises(Invalid):
        Pages.of("/items").place(text)


def test_a_cursor_with_other_sort_values_is_refused() -> None:
    """A cursor of an older version of the query must not reach its SQL."""
    pages = Pages.of("/items")
    assert pages.place(pages.after("i1", 3), str, int) == ["i1", 3]
    with pytest.raises(Invalid):
        pages.place(pages.after("i1"), str, int)
    assert pages.place(None, str) is None


def test_a_cursor_is_short_enough_for_the_parameter() -> None:
    """Ids have at most 128 characters, of four bytes each at worst."""
    assert len(Pages.of("/items").after("\U0001f600" * 128)) < LONGEST
