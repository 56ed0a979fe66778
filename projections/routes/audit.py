"""What was decided, for whom, and what became of every command."""

from fastapi import APIRouter, Response

from infra.access.openapi import open_to
from projections.answers import CommandAnswer, Decision
from projections.question import Question
from projections.readmodels import ReadModels, missing
from projections.routes.common import Fresh, Id, answer, documented
from projections.routes.route import QueryRoute

DECISION = Question(("decisions",), {"decision": "SELECT * FROM decisions WHERE decision_id = %(decision_id)s"})
COMMAND = Question(
    ("command_log",),
    {
        "answers": """
            SELECT * FROM command_log WHERE command_id = %(command_id)s
            ORDER BY outcome = 'repeated', answered_at, command_offset
        """
    },
)


def routes(models: ReadModels) -> APIRouter:
    """The routes under /decisions and /commands."""
    router = APIRouter(route_class=QueryRoute, tags=["audit"])

    @router.get(
        "/decisions/{decision_id}",
        openapi_extra=open_to("auditor", "engineer"),
        responses=documented(Decision),
        summary="A recommendation that was served",
    )
    async def decision(decision_id: Id, fresh: Fresh) -> Response:
        found = await models.ask(DECISION, fresh, decision_id=decision_id)
        document = found.document("decision")
        if document is None:
            missing(f"decision '{decision_id}'", "find it with GET /decisions/search", found.position)
        return answer(document, found.position)

    @router.get(
        "/commands/{command_id}",
        openapi_extra=open_to("auditor", "engineer"),
        responses=documented(CommandAnswer),
        summary="What became of a command",
    )
    async def command(command_id: Id, fresh: Fresh) -> Response:
        found = await models.ask(COMMAND, fresh, command_id=command_id)
        rows = found.rows("answers")
        if not rows:
            remedy = "it may still wait for its decision: ask again"
            missing(f"answer to a command '{command_id}'", remedy, found.position)
        repeats = sum(row["outcome"] == "repeated" for row in rows[1:])
        return answer({**rows[0], "repeats": repeats}, found.position)

    return router
