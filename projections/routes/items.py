"""Items: the catalogue, its search, what is popular and what is rising."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from infra.access.openapi import open_to_known
from projections.answers import Item, Items, PopularItem, TrendingItem
from projections.question import Question
from projections.readmodels import ReadModels, missing
from projections.routes.common import Exactly, Fresh, Id, Limit, Text, answer, documented, page_of, paged
from projections.routes.cursor import Cursor, Pages
from projections.routes.route import QueryRoute

ITEMS = Question(
    ("catalogue",),
    {
        "items": """
            SELECT * FROM catalogue WHERE item_id > coalesce(%(last)s, '')
                AND (%(category)s::text IS NULL OR categories @> ARRAY[%(category)s::text])
                AND (NOT retired OR %(retired)s) ORDER BY item_id LIMIT %(rows)s
        """
    },
)
ITEM = Question(("catalogue",), {"item": "SELECT * FROM catalogue WHERE item_id = %(item_id)s"}, key="item_id")
POPULAR = Question(
    ("popularity", "catalogue"),
    {
        "items": """
            SELECT p.item_id, c.title, c.categories, p.interactions, p.last_at
            FROM popularity p LEFT JOIN catalogue c USING (item_id)
            WHERE c.retired IS NOT TRUE
                AND (%(category)s::text IS NULL OR c.categories @> ARRAY[%(category)s::text])
                AND (-p.interactions, p.item_id)
                    > (coalesce(-%(interactions)s::bigint, -9223372036854775807), coalesce(%(last)s, ''))
            ORDER BY p.interactions DESC, p.item_id LIMIT %(rows)s
        """
    },
)
# Now is the newest window that was measured: an item that nobody met since has no newer one, and is left out.
TRENDING = Question(
    ("trending", "catalogue"),
    {
        "items": """
            SELECT t.item_id, c.title, t.window_start, t.window_end, t.interactions, t.score
            FROM trending t LEFT JOIN catalogue c USING (item_id)
            WHERE c.retired IS NOT TRUE
                AND t.window_end > (SELECT window_start FROM trending ORDER BY window_end DESC LIMIT 1)
                AND (-t.score, -t.interactions, t.item_id) > (
                    coalesce(-%(score)s::float8, '-infinity'), coalesce(-%(interactions)s::bigint, 0),
                    coalesce(%(last)s, ''))
            ORDER BY t.score DESC, t.interactions DESC, t.item_id LIMIT %(rows)s
        """
    },
)


def routes(models: ReadModels) -> APIRouter:
    """The routes under /items, /popular and /trending."""
    router = APIRouter(route_class=QueryRoute, tags=["items"])

    @router.get(
        "/items",
        openapi_extra=open_to_known(),
        responses=documented(Items, pages=True),
        summary="The catalogue, by item id",
    )
    async def items(
        fresh: Fresh,
        limit: Limit = 100,
        category: Text = None,
        retired: Annotated[bool, Query(description="retired items too")] = False,
        cursor: Cursor = None,
    ) -> Response:
        pages = Pages.of("/items", category=category, retired=retired)
        (last,) = pages.place(cursor, str) or (None,)
        found = await models.ask(ITEMS, fresh, last=last, category=category, retired=retired, rows=limit + 1)
        rows, more = page_of(found.rows("items"), limit, pages, "item_id")
        return paged({"items": rows, "next": more}, found.position, pages, limit, more)

    @router.get("/items/{item_id}", openapi_extra=open_to_known(), responses=documented(Item), summary="An item")
    async def item(item_id: Id, fresh: Exactly) -> Response:
        found = await models.ask(ITEM, fresh, item_id=item_id)
        document = found.document("item")
        if document is None:
            missing(f"item '{item_id}'", "add it with POST /items, or find it with GET /items/search", found.position)
        return answer(document, found.position)

    @router.get(
        "/popular",
        openapi_extra=open_to_known(),
        responses=documented(list[PopularItem], pages=True),
        summary="The items that were met most",
    )
    async def popular(fresh: Fresh, limit: Limit = 20, category: Text = None, cursor: Cursor = None) -> Response:
        pages = Pages.of("/popular", category=category)
        interactions, last = pages.place(cursor, int, str) or (None, None)
        asked = {"category": category, "interactions": interactions, "last": last, "rows": limit + 1}
        found = await models.ask(POPULAR, fresh, **asked)
        rows, more = page_of(found.rows("items"), limit, pages, "interactions", "item_id")
        return paged(rows, found.position, pages, limit, more)

    @router.get(
        "/trending",
        openapi_extra=open_to_known(),
        responses=documented(list[TrendingItem], pages=True),
        summary="The items that are rising now",
    )
    async def trending(fresh: Fresh, limit: Limit = 20, cursor: Cursor = None) -> Response:
        pages = Pages.of("/trending")
        score, interactions, last = pages.place(cursor) or (None, None, None)
        found = await models.ask(TRENDING, fresh, score=score, interactions=interactions, last=last, rows=limit + 1)
        rows, more = page_of(found.rows("items"), limit, pages, "score", "interactions", "item_id")
        return paged(rows, found.position, pages, limit, more)

    return router
