"""What a search of the catalogue asks of Elasticsearch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from projections.search.ranking import LONGEST
from projections.search.words import folded

Mode: TypeAlias = Literal["text", "semantic", "hybrid"]
Query: TypeAlias = dict[str, Any]

FACET_VALUES = 50
HALF = LONGEST // 2
"""Items that words, or the vector, may bring into a ranking of both."""
CANDIDATES = 150
"""Vectors that the graph is searched for; more than are wanted, since the graph is approximate."""
CLOSE_ENOUGH = 0.25
"""Cosine below which two texts have nothing to do with each other, as a rule of thumb for this sentence model."""

FUZZINESS = "AUTO:4,8"
"""No slip in words of three letters, which are all alike; one from four on, two from eight on."""

SHOWN = ["item_id", "title", "description", "categories", "attributes", "place"]
LIVE: Query = {"term": {"retired": False}}
CATEGORIES = "categories"


@dataclass(frozen=True)
class Wanted:
    """A search.

    Attributes:
        q: the words; None for everything, by item id.
        categories: an item has one of them.
        attributes: by name, an item has one of these values; of each name.
        facets: attributes whose values are counted.
        mode: what decides the ranking.
        typos: whether words may be spelt a little otherwise.
    """

    q: str | None = None
    categories: Sequence[str] = ()
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    facets: Sequence[str] = ()
    mode: Mode = "hybrid"
    typos: bool = True

    @property
    def names(self) -> set[str]:
        """Attributes that it names."""
        return {*self.attributes, *self.facets}


@dataclass(frozen=True)
class Vector:
    """A query's vector, and the model that made it."""

    values: Sequence[float]
    model_sha256: str


def ranking_by_words(wanted: Wanted, most: int) -> Query:
    """The places of the items that have the words, best first."""
    return _ranked(most, {"query": {"bool": {"must": _words(wanted), "filter": [LIVE, *filters(wanted)]}}})


def ranking_by_meaning(wanted: Wanted, vector: Vector) -> Query:
    """The places of the items whose text is close to the query's, closest first."""
    return _ranked(HALF, {"query": {"knn": {**_close(vector), "filter": [_of(vector), LIVE, *filters(wanted)]}}})


def counts(wanted: Wanted, close: Query | None) -> Query:
    """How many items there are, and how many of each value of each facet; a facet's own filter does not narrow it.

    Args:
        close: what finds the items of the same meaning; None where words alone decide.
    """
    ways = [*([] if wanted.mode == "semantic" and close else [_words(wanted)]), *([close] if close else [])]
    found: Query = {"bool": {"should": ways, "minimum_should_match": 1}}
    facets = {CATEGORIES: CATEGORIES} | {f"attributes.{name}": f"attributes.{name}" for name in wanted.facets}
    aggregations = {name: _facet(field, filters(wanted, but=name)) for name, field in facets.items()}
    return {
        "size": 0,
        "track_total_hits": False,
        "query": {"bool": {"must": found, "filter": [LIVE]}},
        "aggs": {"total": {"filter": _all(filters(wanted))}, **aggregations},
    }


def close_to(wanted: Wanted, vector: Vector, places: Sequence[str]) -> Query:
    """The items of the same meaning, whatever they are else.

    Args:
        places: of the closest items that are what is wanted; without a filter these are all.
    """
    if not filters(wanted):
        return {"terms": {"place": list(places)}}
    return {"knn": {**_close(vector), "filter": [_of(vector), LIVE]}}


def listing(wanted: Wanted, limit: int, after: str | None) -> Query:
    """Items by item id."""
    place: Query = {"search_after": [after]} if after is not None else {}
    query = {"bool": {"filter": [LIVE, *filters(wanted)]}}
    return {"size": limit, "query": query, "sort": ["item_id"], "_source": SHOWN, "track_total_hits": False, **place}


def at_places(wanted: Wanted, places: Sequence[str]) -> Query:
    """The items at these places, as far as they are still what is wanted."""
    query = {"bool": {"filter": [LIVE, {"terms": {"place": list(places)}}, *filters(wanted)]}}
    return {"size": len(places), "query": query, "_source": SHOWN, "track_total_hits": False}


def filters(wanted: Wanted, *, but: str = "") -> list[Query]:
    """One for each thing that an item has to be, except for the facet `but`."""
    found = {f"attributes.{name}": list(values) for name, values in wanted.attributes.items()}
    if wanted.categories:
        found[CATEGORIES] = list(wanted.categories)
    return [{"terms": {field: values}} for field, values in found.items() if field != but]


def beginning_with(text: str, limit: int) -> Query:
    """Titles that somebody may be typing."""
    completion = {"field": "suggest", "size": limit, "skip_duplicates": True, "fuzzy": {"fuzziness": "AUTO"}}
    return {
        "size": 0,
        "_source": ["item_id", "title"],
        "suggest": {"titles": {"prefix": folded(text), "completion": completion}},
    }


def _words(wanted: Wanted) -> Query:
    """All words or nearly all, wherever; those spelt exactly, in the title and side by side, count for more."""
    if wanted.q is None:
        return {"match_all": {}}
    text = folded(wanted.q)
    exactly = {"query": text, "fields": ["title_words^3", "category_words^2", "description_words"]}
    typos = {"fuzziness": FUZZINESS, "prefix_length": 1, "max_expansions": 20} if wanted.typos else {}
    return {
        "bool": {
            "must": {"match": {"words": {"query": text, "minimum_should_match": "2<75%", **typos}}},
            "should": [
                {"multi_match": exactly},
                {"match_phrase": {"title_words": {"query": text, "boost": 4}}},
            ],
        }
    }


def _close(vector: Vector) -> Query:
    return {
        "field": "vector",
        "query_vector": list(vector.values),
        "k": HALF,
        "num_candidates": CANDIDATES,
        "similarity": CLOSE_ENOUGH,
    }


def _of(vector: Vector) -> Query:
    return {"term": {"vector_model": vector.model_sha256}}


def _ranked(most: int, body: Query) -> Query:
    return {"size": most, "_source": False, "docvalue_fields": ["place"], "track_total_hits": False, **body}


def _facet(field: str, others: list[Query]) -> Query:
    return {"filter": _all(others), "aggs": {"values": {"terms": {"field": field, "size": FACET_VALUES}}}}


def _all(clauses: list[Query]) -> Query:
    return {"bool": {"filter": clauses}} if clauses else {"match_all": {}}
