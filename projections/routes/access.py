"""API keys: which there are, and when they were last used."""

from fastapi import APIRouter, Response

from infra.access.openapi import open_to
from projections.answers import KeyOnRecord
from projections.question import Question
from projections.readmodels import ReadModels
from projections.routes.common import Fresh, Limit, documented, page_of, paged
from projections.routes.cursor import Cursor, Pages
from projections.routes.route import QueryRoute

KEYS = Question(
    ("api_keys", "api_key_uses"),
    {
        "keys": """
            SELECT * FROM api_keys LEFT JOIN api_key_uses USING (key_id)
            WHERE (created_at, key_id) > (coalesce(%(created_at)s::timestamptz, '-infinity'), coalesce(%(last)s, ''))
            ORDER BY created_at, key_id LIMIT %(rows)s
        """
    },
)


def routes(models: ReadModels) -> APIRouter:
    """The route /api-keys."""
    router = APIRouter(route_class=QueryRoute, tags=["access"])

    @router.get(
        "/api-keys",
        openapi_extra=open_to("auditor"),
        responses=documented(list[KeyOnRecord], pages=True),
        summary="Every API key, without its secret, the oldest first",
    )
    async def keys(fresh: Fresh, limit: Limit = 1000, cursor: Cursor = None) -> Response:
        pages = Pages.of("/api-keys")
        created_at, last = pages.place(cursor, str, str) or (None, None)
        found = await models.ask(KEYS, fresh, created_at=created_at, last=last, rows=limit + 1)
        rows, more = page_of(found.rows("keys"), limit, pages, "created_at", "key_id")
        return paged(rows, found.position, pages, limit, more)

    return router
