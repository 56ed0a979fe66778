"""Searching the catalogue: a page of items, what it was ranked by, and where it goes on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from projections.freshness import Freshness
from projections.readmodels import ReadModels
from projections.routes.cursor import Pages
from projections.search import catalogue
from projections.search.catalogue import Mode, Vector, Wanted
from projections.search.fusion import fused
from projections.search.meaning import Absent, Meaning
from projections.search.ranking import LONGEST, Rest, packed, unpacked
from projections.search.store import Found, searched
from schemas.errors import Invalid

VIEW = "catalogue_search"
MOST_NAMES = 1_000
NONE: Mapping[str, Any] = {}

Document = dict[str, Any]


@dataclass(frozen=True)
class Ranking:
    """Places, best first, and how they came to their order.

    Attributes:
        scores: of the places; none on later pages.
        mode: what decided.
        close: what finds the items of the same meaning; None where words alone decided.
        reason: why it was not what was asked for.
    """

    scores: Mapping[str, float]
    mode: Mode
    close: catalogue.Query | None = None
    reason: str | None = None


class CatalogueSearch:
    """Finds items.

    Args:
        meaning: gives queries their vectors.
    """

    def __init__(self, models: ReadModels, meaning: Meaning) -> None:
        self._models = models
        self._meaning = meaning
        self._names: set[str] = set()

    async def page(self, fresh: Freshness, wanted: Wanted, limit: int, cursor: str | None) -> tuple[Document, str]:
        """A page of items, and the position that it has at least seen.

        Raises:
            Invalid: no item has an attribute of that name, or the cursor is of another search.
            TimedOut: the wanted position was not reached in time.
            Unavailable: a store is away.
        """
        position = await self._models.position(fresh, VIEW)
        await self._check_names(wanted)
        pages = Pages.of("/items/search", **_said(wanted))
        if wanted.q is None:
            return await self._listed(wanted, limit, pages, cursor), position
        if (place := pages.place(cursor, int, str, str)) is not None:
            first, mode, places = place
            rest, ranking = Rest(first, unpacked(places)), Ranking({}, mode)
            return (await self._shown(wanted, rest, limit, pages, ranking))[0], position
        return await self._first(wanted, wanted.q, limit, pages), position

    async def beginning_with(self, fresh: Freshness, text: str, limit: int) -> tuple[list[Document], str]:
        """Items whose title somebody may be typing."""
        position = await self._models.position(fresh, VIEW)
        (found,) = await searched(self._models, VIEW, catalogue.beginning_with(text, limit))
        options = found["suggest"]["titles"][0]["options"] if "suggest" in found else []
        return [option["_source"] for option in options], position

    async def _first(self, wanted: Wanted, q: str, limit: int, pages: Pages) -> Document:
        """The first page; the ranking is made here, and later pages only go on with it."""
        vector = Absent("") if wanted.mode == "text" else await self._meaning.vector(q)
        ranking = await self._ranked(wanted, vector)
        rest, counts = Rest(1, list(ranking.scores)), catalogue.counts(wanted, ranking.close)
        page, counted = await self._shown(wanted, rest, limit, pages, ranking, counts)
        return page | {"ranking_reason": ranking.reason} | _counts(counted[0], wanted)

    async def _ranked(self, wanted: Wanted, vector: Vector | Absent) -> Ranking:
        if isinstance(vector, Absent):
            (found,) = await searched(self._models, VIEW, catalogue.ranking_by_words(wanted, LONGEST))
            return Ranking(_scores(found), "text", reason=vector.reason or None)
        is_semantic = wanted.mode == "semantic"
        by_words = [] if is_semantic else [catalogue.ranking_by_words(wanted, catalogue.HALF)]
        *words, meant = await searched(self._models, VIEW, *by_words, catalogue.ranking_by_meaning(wanted, vector))
        places = _scores(meant)
        close = catalogue.close_to(wanted, vector, list(places))
        if is_semantic:
            return Ranking(places, "semantic", close)
        return Ranking(dict(fused(list(_scores(words[0])), list(places))), "hybrid", close)

    async def _shown(
        self, wanted: Wanted, rest: Rest, limit: int, pages: Pages, ranking: Ranking, *others: catalogue.Query
    ) -> tuple[Document, list[Found]]:
        """The next items of a ranking, and what other searches find; items no longer wanted are left out."""
        places, left = rest.split(limit)
        ranks = {place: rank for rank, place in enumerate(places, start=rest.first)}
        found, *answers = await searched(self._models, VIEW, catalogue.at_places(wanted, places), *others)
        items = [_item(hit["_source"], ranks, ranking.scores) for hit in found["hits"]["hits"]]
        page = _page(
            sorted(items, key=lambda item: item["rank"]),
            next=pages.after(left.first, ranking.mode, packed(left.places)) if left else None,
            ranking=ranking.mode,
        )
        return page, answers

    async def _listed(self, wanted: Wanted, limit: int, pages: Pages, cursor: str | None) -> Document:
        """Items by item id, when no words are given."""
        place = pages.place(cursor, str)
        bodies = [catalogue.listing(wanted, limit + 1, place[0] if place else None)]
        found, *counted = await searched(
            self._models, VIEW, *bodies, *([] if place else [catalogue.counts(wanted, None)])
        )
        hits = [hit["_source"] for hit in found["hits"]["hits"]]
        items, more = hits[:limit], len(hits) > limit
        page = _page(
            [_item(source) for source in items], next=pages.after(items[-1]["item_id"]) if more else None, ranking=None
        )
        return page | (_counts(counted[0], wanted) if counted else {})

    async def _check_names(self, wanted: Wanted) -> None:
        """See that there are attributes of these names; those that were there are remembered."""
        if wanted.names <= self._names:
            return
        aggregation = {"names": {"terms": {"field": "attribute_names", "size": MOST_NAMES}}}
        (found,) = await searched(self._models, VIEW, {"size": 0, "query": catalogue.LIVE, "aggs": aggregation})
        self._names = {bucket["key"] for bucket in _buckets(found, "names")}
        if unknown := sorted(wanted.names - self._names):
            known = ", ".join(sorted(self._names)) or "none yet"
            raise Invalid(f"no item has an attribute '{unknown[0]}'; there are: {known}", code="unknown_filter")


def _said(wanted: Wanted) -> Document:
    """What makes it the same search."""
    attributes = sorted((name, sorted(values)) for name, values in wanted.attributes.items())
    said = replace(wanted, categories=sorted(wanted.categories))
    return {
        "q": said.q,
        "categories": said.categories,
        "attributes": attributes,
        "mode": said.mode,
        "typos": said.typos,
    }


def _page(items: Sequence[Document], *, next: str | None, ranking: str | None) -> Document:
    nothing = {"total": None, "ranking_reason": None, "categories": None, "facets": None}
    return {"items": list(items), "next": next, "ranking": ranking, **nothing}


def _item(source: Mapping[str, Any], ranks: Mapping[str, int] = NONE, scores: Mapping[str, float] = NONE) -> Document:
    place = source["place"]
    shown = {name: source.get(name) for name in catalogue.SHOWN if name != "place"}
    return {**shown, "rank": ranks.get(place), "score": scores.get(place)}


def _scores(found: Found) -> dict[str, float]:
    """Place and score, best first; of equal scores the place that comes first in the log."""
    hits = [(hit["fields"]["place"][0], hit["_score"]) for hit in found["hits"]["hits"] if "fields" in hit]
    return dict(sorted(hits, key=lambda pair: (-pair[1], _numbers(pair[0]))))


def _numbers(place: str) -> tuple[int, ...]:
    return tuple(int(number) for number in place.split("/"))


def _counts(found: Found, wanted: Wanted) -> Document:
    values = {name: _buckets(found, f"attributes.{name}", "values") for name in wanted.facets}
    categories = _buckets(found, "categories", "values")
    return {
        "total": found["aggregations"]["total"]["doc_count"],
        "categories": [{"category": b["key"], "items": b["doc_count"]} for b in categories],
        "facets": {n: [{"value": b["key"], "items": b["doc_count"]} for b in bs] for n, bs in values.items()},
    }


def _buckets(found: Found, *names: str) -> list[Document]:
    inner: Any = found["aggregations"]
    for name in names:
        inner = inner[name]
    buckets: list[Document] = inner["buckets"]
    return buckets


def attributes_in(texts: Iterable[str]) -> dict[str, list[str]]:
    """`name:value`, several times, as values by name.

    Raises:
        Invalid: one has another form.
    """
    found: dict[str, list[str]] = {}
    for text in texts:
        name, colon, value = text.partition(":")
        if not name or not colon:
            raise Invalid(f"'{text}' is no attribute filter: give name:value, such as year:1995", code="bad_filter")
        found.setdefault(name, []).append(value)
    return found
