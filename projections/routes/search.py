"""Searching the catalogue: by words, by meaning, by what an item is, and while somebody types."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from infra.access.openapi import open_to_known
from projections.answers_search import FoundItems, Suggestions
from projections.readmodels import ReadModels
from projections.routes.common import Fresh, Text, answer, documented
from projections.routes.route import QueryRoute
from projections.search.catalogue import Mode, Wanted
from projections.search.engine import CatalogueSearch, attributes_in
from projections.search.meaning import Meaning

MOST_FILTERS = 20
MOST_FACETS = 10
NO_NUL = "^[^\\x00]*$"

Few = Annotated[int, Query(ge=1, le=100, description="how many at most")]


def routes(models: ReadModels, meaning: Meaning) -> APIRouter:
    """The routes under /items that search."""
    search = CatalogueSearch(models, meaning)
    router = APIRouter(route_class=QueryRoute, tags=["items"])

    @router.get(
        "/items/search",
        openapi_extra=open_to_known(),
        responses=documented(FoundItems),
        summary="Items by words, meaning, category and attribute, best first",
    )
    async def items(
        fresh: Fresh,
        q: Text = None,
        category: Annotated[
            list[str] | None, Query(max_length=MOST_FILTERS, description="one of these, repeatable")
        ] = None,
        attribute: Annotated[
            list[str] | None,
            Query(max_length=MOST_FILTERS, description="`name:value`, repeatable; values of one name: any of them"),
        ] = None,
        facet: Annotated[
            list[str] | None, Query(max_length=MOST_FACETS, description="attributes whose values are counted")
        ] = None,
        mode: Annotated[
            Mode, Query(description="what ranks: words, meaning, or both; words alone where there are no vectors")
        ] = "hybrid",
        typos: Annotated[bool, Query(description="find words that are spelt a little otherwise")] = True,
        limit: Few = 20,
        cursor: Annotated[
            str | None, Query(max_length=4096, description="`next` of the page before, of the same search")
        ] = None,
    ) -> Response:
        wanted = Wanted(q, category or (), attributes_in(attribute or ()), facet or (), mode, typos)
        return answer(*await search.page(fresh, wanted, limit, cursor))

    @router.get(
        "/items/suggest",
        openapi_extra=open_to_known(),
        responses=documented(Suggestions),
        summary="Titles that somebody may be typing",
    )
    async def suggest(
        fresh: Fresh,
        q: Annotated[str, Query(min_length=1, max_length=100, pattern=NO_NUL)],
        limit: Annotated[int, Query(ge=1, le=20, description="how many at most")] = 8,
    ) -> Response:
        found, position = await search.beginning_with(fresh, q, limit)
        return answer({"items": found}, position)

    return router
