"""Items: the catalogue, its search, what is popular and what is rising."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from infra.access.openapi import open_to_known
from infra.access.route import GuardedRoute
from projections.answers import FoundItems, Item, Items, PopularItem, TrendingItem
from projections.readmodels import ReadModels
from projections.routes.common import Fresh, Id, Limit, Text, answer, documented

FACETS = 50


def routes(models: ReadModels) -> APIRouter:
    """The routes under /items, /popular and /trending."""
    router = APIRouter(route_class=GuardedRoute, tags=["items"])

    @router.get(
        "/items", openapi_extra=open_to_known(), responses=documented(Items), summary="The catalogue, by item id"
    )
    async def items(
        fresh: Fresh,
        limit: Limit = 100,
        after: Text = None,
        category: Text = None,
        retired: Annotated[bool, Query(description="retired items too")] = False,
    ) -> Response:
        async with models.snapshot(fresh, "catalogue") as snapshot:
            rows = await snapshot.rows(
                """SELECT * FROM catalogue WHERE item_id > %s AND (%s::text IS NULL OR categories @> ARRAY[%s::text])
                   AND (NOT retired OR %s) ORDER BY item_id LIMIT %s""",
                *(after or "", category, category, retired, limit + 1),
            )
        more = rows[limit - 1]["item_id"] if len(rows) > limit else None
        return answer({"items": rows[:limit], "next": more}, snapshot.position)

    @router.get(
        "/items/search",
        openapi_extra=open_to_known(),
        responses=documented(FoundItems),
        summary="Items by text and category, best first",
    )
    async def search(fresh: Fresh, q: Text = None, category: Text = None, limit: Limit = 20) -> Response:
        found, position = await models.search(fresh, "catalogue_search", **_search(q, category, limit))
        hits = [{**hit["_source"], "score": hit["_score"]} for hit in found["hits"]["hits"]]
        facets = [
            {"category": bucket["key"], "items": bucket["doc_count"]}
            for bucket in found["aggregations"]["categories"]["buckets"]
        ]
        return answer({"total": found["hits"]["total"]["value"], "items": hits, "categories": facets}, position)

    @router.get("/items/{item_id}", openapi_extra=open_to_known(), responses=documented(Item), summary="An item")
    async def item(item_id: Id, fresh: Fresh) -> Response:
        async with models.snapshot(fresh, "catalogue") as snapshot:
            row = await snapshot.row("SELECT * FROM catalogue WHERE item_id = %s", item_id)
            if row is None:
                snapshot.missing(f"item '{item_id}'", "add it with POST /items, or find it with GET /items/search")
        return answer(row, snapshot.position)

    @router.get(
        "/popular",
        openapi_extra=open_to_known(),
        responses=documented(list[PopularItem]),
        summary="The items that were met most",
    )
    async def popular(fresh: Fresh, limit: Limit = 20, category: Text = None) -> Response:
        async with models.snapshot(fresh, "popularity", "catalogue") as snapshot:
            rows = await snapshot.rows(
                """SELECT p.item_id, c.title, c.categories, p.interactions, p.last_at
                   FROM popularity p LEFT JOIN catalogue c USING (item_id)
                   WHERE c.retired IS NOT TRUE AND (%s::text IS NULL OR c.categories @> ARRAY[%s::text])
                   ORDER BY p.interactions DESC, p.item_id LIMIT %s""",
                *(category, category, limit),
            )
        return answer(rows, snapshot.position)

    @router.get(
        "/trending",
        openapi_extra=open_to_known(),
        responses=documented(list[TrendingItem]),
        summary="The items that are rising now",
    )
    async def trending(fresh: Fresh, limit: Limit = 20) -> Response:
        # Now is the newest window that was measured: an item that nobody met since has no newer one, and is left out.
        async with models.snapshot(fresh, "trending", "catalogue") as snapshot:
            rows = await snapshot.rows(
                """SELECT t.item_id, c.title, t.window_start, t.window_end, t.interactions, t.score
                   FROM trending t LEFT JOIN catalogue c USING (item_id)
                   WHERE c.retired IS NOT TRUE AND t.window_end > (
                       SELECT window_start FROM trending ORDER BY window_end DESC LIMIT 1)
                   ORDER BY t.score DESC, t.interactions DESC, t.item_id LIMIT %s""",
                limit,
            )
        return answer(rows, snapshot.position)

    return router


def _search(q: str | None, category: str | None, limit: int) -> dict[str, Any]:
    filters: list[dict[str, Any]] = [{"bool": {"must_not": {"term": {"retired": True}}}}]
    if category:
        filters.append({"term": {"categories": category}})
    fields = ["title^3", "description", "categories.text"]
    text = {"multi_match": {"query": q, "fields": fields, "fuzziness": "AUTO"}} if q else {"match_all": {}}
    return {
        "query": {"bool": {"must": text, "filter": filters}},
        "aggregations": {"categories": {"terms": {"field": "categories", "size": FACETS}}},
        "source": ["item_id", "title", "description", "categories"],
        "size": limit,
        "track_total_hits": True,
    }
