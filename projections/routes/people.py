"""Users: what they told us, what they did, what they were shown."""

from typing import Any

from fastapi import APIRouter, Response

from infra.access.openapi import open_to
from projections.answers import Decision, History, Profile
from projections.personal import ERASED, People
from projections.question import Question
from projections.readmodels import ReadModels, missing
from projections.routes.common import (
    Before,
    Exactly,
    Fresh,
    Id,
    Limit,
    answer,
    documented,
    page_of,
    paged,
    without,
)
from projections.routes.cursor import Cursor, Pages
from projections.routes.route import QueryRoute

PROFILE = Question(
    ("user_profile",),
    {"profile": "SELECT * FROM user_profile WHERE user_id = %(user_id)s", "erased": ERASED},
    key="user_id",
)

HISTORY = Question(
    ("user_history", "user_profile"),
    {
        "entries": """
            SELECT item_id, kind, value, occurred_at, decision_id, event_id,
                   'interactions/' || partition || '/' || "offset" AS position, "offset"
            FROM user_history WHERE user_id = %(user_id)s
                AND occurred_at < coalesce(%(before)s::timestamptz, 'infinity')
                AND (occurred_at, "offset")
                    < (coalesce(%(at)s::timestamptz, 'infinity'), coalesce(%(offset)s::bigint, 0))
            ORDER BY occurred_at DESC, "offset" DESC LIMIT %(rows)s
        """,
        "known": """
            SELECT 1 FROM user_profile WHERE user_id = %(user_id)s
            UNION ALL (SELECT 1 FROM user_history WHERE user_id = %(user_id)s LIMIT 1)
        """,
        "erased": ERASED,
    },
)

DECISIONS = Question(
    ("decisions", "user_profile"),
    {
        "decisions": """
            SELECT * FROM decisions WHERE user_id = %(user_id)s
                AND served_at < coalesce(%(before)s::timestamptz, 'infinity')
                AND (served_at, "offset")
                    < (coalesce(%(at)s::timestamptz, 'infinity'), coalesce(%(offset)s::bigint, 0))
            ORDER BY served_at DESC, "offset" DESC LIMIT %(rows)s
        """,
        "known": """
            SELECT 1 FROM user_profile WHERE user_id = %(user_id)s
            UNION ALL (SELECT 1 FROM decisions WHERE user_id = %(user_id)s LIMIT 1)
        """,
        "erased": ERASED,
    },
)


def routes(models: ReadModels) -> APIRouter:
    """The routes under /users."""
    router = APIRouter(route_class=QueryRoute, prefix="/users", tags=["users"])
    people = People(models, models.settings)

    @router.get(
        "/{user_id}",
        openapi_extra=open_to("auditor", "product"),
        responses=documented(Profile, person=True),
        summary="A user's profile",
    )
    async def profile(user_id: Id, fresh: Exactly) -> Response:
        found = await people.ask(PROFILE, fresh, user_id)
        document = found.document("profile")
        if document is None:
            missing(f"user '{user_id}'", "register with POST /users, or ask with `min-position`", found.position)
        return answer(await people.shown(user_id, document), found.position)

    @router.get(
        "/{user_id}/history",
        openapi_extra=open_to("auditor", "product"),
        responses=documented(History, pages=True, person=True),
        summary="A user's interactions, newest first",
    )
    async def history(
        user_id: Id, fresh: Fresh, limit: Limit = 100, before: Before = None, cursor: Cursor = None
    ) -> Response:
        pages = Pages.of(f"/users/{user_id}/history", before=before)
        at, offset = pages.place(cursor, str, int) or (None, None)
        asked: dict[str, Any] = {"user_id": user_id, "before": before, "at": at, "offset": offset, "rows": limit + 1}
        found = await people.ask(HISTORY, fresh, **asked)
        if found.row("known") is None:
            missing(f"user '{user_id}'", "nothing was recorded under this id", found.position)
        rows, more = page_of(found.rows("entries"), limit, pages, "occurred_at", "offset")
        entries = [without(row, "offset") for row in rows]
        content = {"user_id": user_id, "interactions": entries, "next": more}
        return paged(content, found.position, pages, limit, more)

    @router.get(
        "/{user_id}/decisions",
        openapi_extra=open_to("auditor", "engineer", "product"),
        responses=documented(list[Decision], pages=True, person=True),
        summary="What a user was shown, newest first",
    )
    async def decisions(
        user_id: Id, fresh: Fresh, limit: Limit = 20, before: Before = None, cursor: Cursor = None
    ) -> Response:
        pages = Pages.of(f"/users/{user_id}/decisions", before=before)
        at, offset = pages.place(cursor, str, int) or (None, None)
        asked: dict[str, Any] = {"user_id": user_id, "before": before, "at": at, "offset": offset, "rows": limit + 1}
        found = await people.ask(DECISIONS, fresh, **asked)
        if found.row("known") is None:
            missing(f"user '{user_id}'", "nothing was recommended under this id", found.position)
        rows, more = page_of(found.rows("decisions"), limit, pages, "served_at", "offset")
        return paged(rows, found.position, pages, limit, more)

    return router
