"""The parts of a search that need no server: words, fusion, and the ranking in a cursor."""

from contextlib import suppress
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.search.engine import attributes_in
from projections.search.fusion import fused
from projections.search.ranking import Rest, packed, unpacked
from projections.search.words import beginnings, folded
from projections.testing import IndexSpec
from projections.views import catalogue_search, events_search
from schemas.catalog import ItemAdded, ItemChanged, ItemRetired
from schemas.embeddings import ItemEmbedded
from schemas.errors import Invalid
from schemas.profiles import UserRegistered

PLACES = st.builds("{}/{}".format, st.integers(0, 2**31), st.integers(0, 2**63))
RANKINGS = st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True), max_size=3)


@given(st.lists(PLACES, max_size=200))
def test_a_packed_ranking_is_the_same_again(places: list[str]) -> None:
    """A cursor carries it to the client and back."""
    assert unpacked(packed(places)) == places


def test_two_hundred_places_fit_into_an_address() -> None:
    """Servers and proxies cut addresses at some thousands of letters."""
    places = [f"{number % 16}/{number * 5_000}" for number in range(200)]
    assert len(packed(places)) * 4 / 3 < 1_500


@given(st.text(max_size=60))
def test_a_broken_ranking_is_refused(text: str) -> None:
    """Whatever a client sends: a problem, or places."""
    with suppress(Invalid):
        assert all("/" in place for place in unpacked(text))


@given(st.lists(PLACES, unique=True), st.integers(1, 50))
def test_pages_of_a_ranking_are_the_ranking(places: list[str], limit: int) -> None:
    """Nothing twice, nothing left out."""
    rest: Rest | None = Rest(1, places)
    seen: list[str] = []
    while rest is not None:
        assert rest.first == len(seen) + 1
        page, rest = rest.split(limit)
        seen += page
    assert seen == places


@given(RANKINGS)
def test_fusion_ranks_all_and_only_what_is_ranked(rankings: list[list[str]]) -> None:
    """An item that only one of the rankings knows is found."""
    found = [one for one, _ in fused(*rankings)]
    assert sorted(found) == sorted({one for ranking in rankings for one in ranking})


@given(RANKINGS, st.sampled_from("abcdefgh"))
def test_what_is_first_everywhere_is_first(rankings: list[list[str]], best: str) -> None:
    """Fusion may not take away what nobody disputes."""
    agreed = [[best, *(one for one in ranking if one != best)] for ranking in rankings] or [[best]]
    assert fused(*agreed)[0][0] == best


def test_fusion_does_not_ask_who_comes_first_except_for_equals() -> None:
    """Scores of different kinds are never compared; on a tie words win over meaning."""
    rankings = [["a", "b", "c"], ["b", "d"], ["c", "b"]]
    assert len({tuple(score for _, score in fused(*order)) for order in permutations(rankings)}) == 1
    assert [one for one, _ in fused(["words"], ["meaning"])] == ["words", "meaning"]


@given(st.text())
def test_folding_is_done_once(text: str) -> None:
    """What is indexed and what is looked for meet, however often they are folded."""
    assert folded(folded(text)) == folded(text)


def test_accents_and_case_are_folded() -> None:
    """The server's own filters for it are not there."""
    assert folded("Amélie ÅNGSTRÖM ﬁlm Straße") == "amelie angstrom film strasse"
    assert [*beginnings("The Big Sleep")] == ["the big sleep", "big sleep", "sleep"]
    assert [*beginnings("  ")] == []


def test_attribute_filters_are_named() -> None:
    """`year:1995` filters, `1995` is a mistake."""
    assert attributes_in(["year:1995", "year:1996", "at:12:30"]) == {"year": ["1995", "1996"], "at": ["12:30"]}
    for wrong in ("1995", ":1995", ""):
        with pytest.raises(Invalid):
            attributes_in([wrong])


def test_a_document_of_the_catalogue() -> None:
    """What is null in a change stays; a retired item is suggested no more."""
    IndexSpec(catalogue_search.INDEX).given(
        ItemAdded(item_id="i1", title="Amélie", categories=("Comedy",), attributes={"year": "2001"}),
        ItemChanged(item_id="i1", description="Paris"),
        ItemEmbedded(item_id="i1", model="m", model_sha256="s", text_sha256="t", vector=(1.0, 0.0)),
        ItemRetired(item_id="i1"),
    ).then(
        {
            "i1": {
                "item_id": "i1",
                "place": "0/0",
                "title": "Amélie",
                "title_words": "amelie",
                "suggest": None,
                "description": "Paris",
                "description_words": "paris",
                "categories": ["Comedy"],
                "category_words": ["comedy"],
                "attributes": {"year": "2001"},
                "attribute_names": ["year"],
                "vector": [1.0, 0.0],
                "vector_model": "s",
                "retired": True,
            }
        }
    )


def test_an_event_is_indexed_without_what_it_says() -> None:
    """A name may not outlive its person in an index that nobody thought of."""
    found = IndexSpec(events_search.INDEX).given(UserRegistered(user_id="u1", name="Ana Secret"))
    (document,) = found.documents.values()
    assert document["user_id"] == "u1"
    assert "Ana Secret" not in str(document)
    assert document.keys() == events_search.MAPPING["properties"].keys()
