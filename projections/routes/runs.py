"""Training runs: which there are, how far each is, and its steps; now, or as they were."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from infra.access.openapi import open_to
from projections.answers_runs import TrainingRun, TrainingStep
from projections.question import Question
from projections.readmodels import ReadModels, missing
from projections.routes.common import Exactly, Id, Limit, Text, answer, documented, page_of, paged, without
from projections.routes.cursor import Cursor, Pages
from projections.routes.route import QueryRoute

Status = Literal["requested", "queued", "started", "completed", "failed", "cancelled"]
OfModel = Annotated[Text, Query(description="of this model; to be said where models have a run of the same id")]

AHEAD = """CASE WHEN r.status IN ('requested', 'queued') THEN (SELECT count(*) FROM training_runs o
    WHERE o.status IN ('requested', 'queued') AND (o.since, o.model, o.run_id) < (r.since, r.model, r.run_id)) END"""
"""Runs that are to begin before this one, as they wait now."""

RUNS = Question(
    ("training_runs",),
    {
        "runs": f"""
            SELECT r.*, {AHEAD} AS ahead, coalesce(r.requested_at, '-infinity') AS asked_at FROM training_runs r
            WHERE r.model = coalesce(%(model)s, r.model) AND r.status = coalesce(%(status)s, r.status)
                AND (coalesce(r.requested_at, '-infinity'), r.run_id, r.model) < (coalesce(%(at)s::timestamptz,
                    'infinity'), coalesce(%(last)s, ''), coalesce(%(of)s, ''))
            ORDER BY asked_at DESC, r.run_id DESC, r.model DESC LIMIT %(rows)s
        """
    },
)
RUN = Question(
    ("training_runs",),
    {
        "runs": f"""
            SELECT r.*, {AHEAD} AS ahead FROM training_runs r
            WHERE r.run_id = %(run_id)s AND r.model = coalesce(%(model)s, r.model) ORDER BY r.requested_at LIMIT 1
        """
    },
)
STEPS = Question(
    ("training_steps", "training_runs"),
    {
        "steps": """
            SELECT s.name, s.attempt, s.at, s.actor, s.correlation_id, s.event_id, s.details,
                'models/' || s.partition || '/' || s."offset" AS position
            FROM training_steps s JOIN (SELECT model FROM training_runs WHERE run_id = %(run_id)s
                AND model = coalesce(%(model)s, model) ORDER BY requested_at LIMIT 1) r USING (model)
            WHERE s.run_id = %(run_id)s AND s."offset" > coalesce(%(after)s::bigint, -1)
            ORDER BY s."offset" LIMIT %(rows)s
        """,
        "known": "SELECT 1 FROM training_runs WHERE run_id = %(run_id)s AND model = coalesce(%(model)s, model) LIMIT 1",
    },
)
REMEDY = "GET /training-runs lists them; ask for one with POST /models/{model}/training-runs of the command API"


def routes(models: ReadModels) -> APIRouter:
    """The routes under /training-runs."""
    router = APIRouter(route_class=QueryRoute, tags=["training runs"])

    @router.get(
        "/training-runs",
        openapi_extra=open_to("approver", "auditor", "engineer"),
        responses=documented(list[TrainingRun], pages=True),
        summary="Training runs, newest first",
    )
    async def training_runs(
        fresh: Exactly,
        model: Annotated[Text, Query(description="only of this model")] = None,
        status: Annotated[Status | None, Query(description="only these")] = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        pages = Pages.of("/training-runs", model=model, status=status)
        at, last, of = pages.place(cursor, str, str, str) or (None, None, None)
        found = await models.ask(RUNS, fresh, model=model, status=status, at=at, last=last, of=of, rows=limit + 1)
        rows, more = page_of(found.rows("runs"), limit, pages, "asked_at", "run_id", "model")
        shown = [without(row, "asked_at", "manifest") for row in rows]
        return paged(shown, found.position, pages, limit, more)

    @router.get(
        "/training-runs/{run_id}",
        openapi_extra=open_to("approver", "auditor", "engineer"),
        responses=documented(TrainingRun),
        summary="A training run: what it reads, how far it is, what came of it, what it has used",
    )
    async def training_run(run_id: Id, fresh: Exactly, model: OfModel = None) -> Response:
        found = await models.ask(RUN, fresh, run_id=run_id, model=model)
        document = found.document("runs")
        if document is None:
            missing(f"training run '{run_id}'", REMEDY, found.position)
        return answer(document, found.position)

    @router.get(
        "/training-runs/{run_id}/steps",
        openapi_extra=open_to("approver", "auditor", "engineer"),
        responses=documented(list[TrainingStep], pages=True),
        summary="What happened to a training run, step by step",
    )
    async def steps(
        run_id: Id, fresh: Exactly, model: OfModel = None, limit: Limit = 1000, cursor: Cursor = None
    ) -> Response:
        pages = Pages.of(f"/training-runs/{run_id}/steps", model=model)
        (after,) = pages.place(cursor, int) or (None,)
        found = await models.ask(STEPS, fresh, run_id=run_id, model=model, after=after, rows=limit + 1)
        if found.row("known") is None:
            missing(f"training run '{run_id}'", REMEDY, found.position)
        rows = [{**row, "offset": int(row["position"].rpartition("/")[2])} for row in found.rows("steps")]
        shown, more = page_of(rows, limit, pages, "offset")
        return paged([without(row, "offset") for row in shown], found.position, pages, limit, more)

    return router
