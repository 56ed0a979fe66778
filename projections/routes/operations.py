"""How the read models are doing, and what is done to rebuild them."""

from fastapi import APIRouter, Response

from infra.access.openapi import open_to
from infra.kafka.consumer import open_consumer
from projections.answers import ProjectionStatus, RebuildStatus
from projections.attempt import Attempts
from projections.overview import overview
from projections.readmodels import ReadModels
from projections.routes.common import Id, answer, documented
from projections.routes.route import QueryRoute
from projections.watch import LogEnds
from schemas.errors import NotFound


def routes(models: ReadModels) -> APIRouter:
    """The routes /projections."""
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

    @router.get(
        "/projections/{name}/rebuilds",
        openapi_extra=open_to("auditor", "engineer"),
        responses=documented(list[RebuildStatus]),
        summary="Rebuilds of a read model, the last first: how far, how fast, and what they found",
    )
    async def rebuilds(name: Id) -> Response:
        if name not in models.projections:
            known = ", ".join(models.projections)
            raise NotFound(f"there is no read model '{name}'; there are {known}", code="unknown_projection")
        async with models.connection() as connection:
            found = await Attempts(connection).all(name)
        return answer([one.document() for one in found], "")

    return router
