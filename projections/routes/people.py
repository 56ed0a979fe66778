"""Users: what they told us, what they did, what they were shown."""

from fastapi import APIRouter, Response

from infra.access.openapi import open_to
from infra.access.route import GuardedRoute
from projections.answers import Decision, History, Profile
from projections.readmodels import ReadModels
from projections.routes.common import Before, Fresh, Id, Limit, answer, before, cursor, documented, without

KNOWN_BY_HISTORY = """
    SELECT 1 FROM user_profile WHERE user_id = %s UNION ALL (SELECT 1 FROM user_history WHERE user_id = %s LIMIT 1)
"""
KNOWN_BY_DECISIONS = """
    SELECT 1 FROM user_profile WHERE user_id = %s UNION ALL (SELECT 1 FROM decisions WHERE user_id = %s LIMIT 1)
"""


def routes(models: ReadModels) -> APIRouter:
    """The routes under /users."""
    router = APIRouter(route_class=GuardedRoute, prefix="/users", tags=["users"])

    @router.get(
        "/{user_id}",
        openapi_extra=open_to("auditor", "product"),
        responses=documented(Profile),
        summary="A user's profile",
    )
    async def profile(user_id: Id, fresh: Fresh) -> Response:
        async with models.snapshot(fresh, "user_profile") as snapshot:
            row = await snapshot.row("SELECT * FROM user_profile WHERE user_id = %s", user_id)
            if row is None:
                snapshot.missing(f"user '{user_id}'", "register with POST /users, or ask with `min-position`")
        return answer(row, snapshot.position)

    @router.get(
        "/{user_id}/history",
        openapi_extra=open_to("auditor", "product"),
        responses=documented(History),
        summary="A user's interactions, newest first",
    )
    async def history(user_id: Id, fresh: Fresh, limit: Limit = 100, page: Before = None) -> Response:
        at, offset = before(page)
        async with models.snapshot(fresh, "user_history", "user_profile") as snapshot:
            rows = await snapshot.rows(
                """SELECT item_id, kind, value, occurred_at, decision_id, event_id,
                          'interactions/' || partition || '/' || "offset" AS position, "offset"
                   FROM user_history WHERE user_id = %s AND (occurred_at, "offset") < (%s, %s)
                   ORDER BY occurred_at DESC, "offset" DESC LIMIT %s""",
                *(user_id, at, offset, limit + 1),
            )
            if not rows and not await snapshot.row(KNOWN_BY_HISTORY, user_id, user_id):
                snapshot.missing(f"user '{user_id}'", "nothing was recorded under this id")
        last = rows[limit - 1] if len(rows) > limit else None
        more = cursor(last["occurred_at"], last["offset"]) if last else None
        entries = [without(row, "offset") for row in rows[:limit]]
        return answer({"user_id": user_id, "interactions": entries, "next": more}, snapshot.position)

    @router.get(
        "/{user_id}/decisions",
        openapi_extra=open_to("auditor", "engineer", "product"),
        responses=documented(list[Decision]),
        summary="What a user was shown",
    )
    async def decisions(user_id: Id, fresh: Fresh, limit: Limit = 20, page: Before = None) -> Response:
        at, offset = before(page)
        async with models.snapshot(fresh, "decisions", "user_profile") as snapshot:
            rows = await snapshot.rows(
                """SELECT * FROM decisions WHERE user_id = %s AND (served_at, "offset") < (%s, %s)
                   ORDER BY served_at DESC, "offset" DESC LIMIT %s""",
                *(user_id, at, offset, limit),
            )
            if not rows and not await snapshot.row(KNOWN_BY_DECISIONS, user_id, user_id):
                snapshot.missing(f"user '{user_id}'", "nothing was recommended under this id")
        return answer(rows, snapshot.position)

    return router
