"""How the read models are doing."""

from fastapi import APIRouter, Response

from infra.access.openapi import open_to
from projections.answers import ProjectionStatus
from projections.overview import overview
from projections.reader import open_consumer
from projections.readmodels import ReadModels
from projections.routes.common import answer, documented
from projections.routes.route import QueryRoute
from projections.watch import LogEnds


def routes(models: ReadModels) -> APIRouter:
    """The route /projections."""
    router = APIRouter(route_class=QueryRoute, tags=["operations"])

    @router.get(
        "/projections",
        openapi_extra=open_to("auditor", "engineer"),
        responses=documented(list[ProjectionStatus]),
        summary="Every read model, its lag and its state",
    )
    async def projections() -> Response:
        async with models.connection() as connection, open_consumer(models.settings) as consumer:
            found = await overview(connection, LogEnds(models.settings, consumer), models.projections.values())
        return answer([one.document() for one in found], "")

    return router
