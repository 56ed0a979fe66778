"""Scheduled commands: what is to be sent, and what was."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from infra.access.openapi import open_to
from projections.answers import ScheduleOnRecord
from projections.question import Question
from projections.readmodels import ReadModels, missing
from projections.routes.common import Fresh, Id, Limit, answer, documented, page_of, paged
from projections.routes.cursor import Cursor, Pages
from projections.routes.route import QueryRoute

Status = Literal["pending", "cancelled", "fired", "sent", "failed"]

ALL = Question(
    ("schedules",),
    {
        "schedules": """
            SELECT * FROM schedules WHERE status = coalesce(%(status)s, status)
                AND (due_at, schedule_id) > (coalesce(%(due_at)s::timestamptz, '-infinity'), coalesce(%(last)s, ''))
            ORDER BY due_at, schedule_id LIMIT %(rows)s
        """
    },
)
ONE = Question(("schedules",), {"schedule": "SELECT * FROM schedules WHERE schedule_id = %(schedule_id)s"})


def routes(models: ReadModels) -> APIRouter:
    """The routes under /schedules."""
    router = APIRouter(route_class=QueryRoute, tags=["schedules"])

    @router.get(
        "/schedules",
        openapi_extra=open_to("product", "engineer", "approver", "auditor"),
        responses=documented(list[ScheduleOnRecord], pages=True),
        summary="Scheduled commands, the next one first",
    )
    async def schedules(
        fresh: Fresh,
        status: Annotated[Status | None, Query(description="only these")] = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        pages = Pages.of("/schedules", status=status)
        due_at, last = pages.place(cursor, str, str) or (None, None)
        found = await models.ask(ALL, fresh, status=status, due_at=due_at, last=last, rows=limit + 1)
        rows, more = page_of(found.rows("schedules"), limit, pages, "due_at", "schedule_id")
        return paged(rows, found.position, pages, limit, more)

    @router.get(
        "/schedules/{schedule_id}",
        openapi_extra=open_to("product", "engineer", "approver", "auditor"),
        responses=documented(ScheduleOnRecord),
        summary="A scheduled command, and what became of it",
    )
    async def schedule(schedule_id: Id, fresh: Fresh) -> Response:
        found = await models.ask(ONE, fresh, schedule_id=schedule_id)
        document = found.document("schedule")
        if document is None:
            remedy = "make one with POST /schedules of the command API"
            missing(f"schedule '{schedule_id}'", remedy, found.position)
        return answer(document, found.position)

    return router
