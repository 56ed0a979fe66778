"""API keys: which there are, and when they were last used."""

from fastapi import APIRouter, Response

from infra.access.openapi import open_to
from infra.access.route import GuardedRoute
from projections.answers import KeyOnRecord
from projections.readmodels import ReadModels
from projections.routes.common import Fresh, answer, documented


def routes(models: ReadModels) -> APIRouter:
    """The route /api-keys."""
    router = APIRouter(route_class=GuardedRoute, tags=["access"])

    @router.get(
        "/api-keys",
        openapi_extra=open_to("auditor"),
        responses=documented(list[KeyOnRecord]),
        summary="Every API key, without its secret",
    )
    async def keys(fresh: Fresh) -> Response:
        async with models.snapshot(fresh, "api_keys", "api_key_uses") as snapshot:
            rows = await snapshot.rows(
                "SELECT * FROM api_keys LEFT JOIN api_key_uses USING (key_id) ORDER BY created_at, key_id"
            )
        return answer(rows, snapshot.position)

    return router
