"""What was decided, for whom, and what became of every command."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from infra.access.openapi import open_to
from infra.access.route import GuardedRoute
from projections.answers import CommandAnswer, Decision, FoundDecisions
from projections.readmodels import ReadModels
from projections.routes.common import Fresh, Id, Limit, Text, answer, documented

SEARCHED = [
    "decision_id",
    "user_id",
    "model",
    "items",
    "artifact_sha256",
    "deployment_id",
    "source",
    "server",
    "fallback_reason",
]


def routes(models: ReadModels) -> APIRouter:
    """The routes under /decisions and /commands."""
    router = APIRouter(route_class=GuardedRoute, tags=["audit"])

    @router.get(
        "/decisions/search",
        openapi_extra=open_to("auditor", "engineer"),
        responses=documented(FoundDecisions),
        summary="Decisions, newest first",
    )
    async def search(
        fresh: Fresh,
        q: Text = None,
        user_id: Text = None,
        model: Text = None,
        item_id: Text = None,
        source: Text = None,
        since: Annotated[datetime | None, Query(description="served then or later")] = None,
        until: Annotated[datetime | None, Query(description="served before then")] = None,
        limit: Limit = 20,
    ) -> Response:
        terms = {"user_id": user_id, "model": model, "items": item_id, "source": source}
        filters: list[dict[str, Any]] = [{"term": {name: value}} for name, value in terms.items() if value is not None]
        span = {"gte": since.isoformat() if since else None, "lt": until.isoformat() if until else None}
        filters.append({"range": {"served_at": {name: value for name, value in span.items() if value}}})
        text = {"multi_match": {"query": q, "fields": SEARCHED, "lenient": True}} if q else {"match_all": {}}
        found, position = await models.search(
            fresh,
            "decisions_search",
            query={"bool": {"must": text, "filter": filters}},
            sort=[{"served_at": "desc"}, {"decision_id": "asc"}],
            size=limit,
            track_total_hits=True,
        )
        hits = [hit["_source"] for hit in found["hits"]["hits"]]
        return answer({"total": found["hits"]["total"]["value"], "decisions": hits}, position)

    @router.get(
        "/decisions/{decision_id}",
        openapi_extra=open_to("auditor", "engineer"),
        responses=documented(Decision),
        summary="A recommendation that was served",
    )
    async def decision(decision_id: Id, fresh: Fresh) -> Response:
        async with models.snapshot(fresh, "decisions") as snapshot:
            row = await snapshot.row("SELECT * FROM decisions WHERE decision_id = %s", decision_id)
            if row is None:
                snapshot.missing(f"decision '{decision_id}'", "find it with GET /decisions/search")
        return answer(row, snapshot.position)

    @router.get(
        "/commands/{command_id}",
        openapi_extra=open_to("auditor", "engineer"),
        responses=documented(CommandAnswer),
        summary="What became of a command",
    )
    async def command(command_id: Id, fresh: Fresh) -> Response:
        async with models.snapshot(fresh, "command_log") as snapshot:
            rows = await snapshot.rows(
                """SELECT * FROM command_log WHERE command_id = %s
                   ORDER BY outcome = 'repeated', answered_at, command_offset""",
                command_id,
            )
            if not rows:
                snapshot.missing(f"answer to a command '{command_id}'", "it may still wait for its decision: ask again")
        repeats = sum(row["outcome"] == "repeated" for row in rows[1:])
        return answer({**rows[0], "repeats": repeats}, snapshot.position)

    return router
