"""Scheduled commands: what is to be sent, and what was."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from infra.access.openapi import open_to
from infra.access.route import GuardedRoute
from projections.answers import ScheduleOnRecord
from projections.readmodels import ReadModels
from projections.routes.common import Fresh, Id, Limit, answer, documented

Status = Literal["pending", "cancelled", "fired", "sent", "failed"]


def routes(models: ReadModels) -> APIRouter:
    """The routes under /schedules."""
    router = APIRouter(route_class=GuardedRoute, tags=["schedules"])

    @router.get(
        "/schedules",
        openapi_extra=open_to("product", "engineer", "approver", "auditor"),
        responses=documented(list[ScheduleOnRecord]),
        summary="Scheduled commands, the next one first",
    )
    async def schedules(
        fresh: Fresh, status: Annotated[Status | None, Query(description="only these")] = None, limit: Limit = 100
    ) -> Response:
        async with models.snapshot(fresh, "schedules") as snapshot:
            rows = await snapshot.rows(
                "SELECT * FROM schedules WHERE status = coalesce(%s, status) ORDER BY due_at, schedule_id LIMIT %s",
                status,
                limit,
            )
        return answer(rows, snapshot.position)

    @router.get(
        "/schedules/{schedule_id}",
        openapi_extra=open_to("product", "engineer", "approver", "auditor"),
        responses=documented(ScheduleOnRecord),
        summary="A scheduled command, and what became of it",
    )
    async def schedule(schedule_id: Id, fresh: Fresh) -> Response:
        async with models.snapshot(fresh, "schedules") as snapshot:
            row = await snapshot.row("SELECT * FROM schedules WHERE schedule_id = %s", schedule_id)
            if row is None:
                snapshot.missing(f"schedule '{schedule_id}'", "make one with POST /schedules of the command API")
        return answer(row, snapshot.position)

    return router
