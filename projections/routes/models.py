"""Models: their versions, and the deployments that brought them; now, or as they were."""

from typing import Annotated, NoReturn

from fastapi import APIRouter, Path, Response

from infra.access.openapi import open_to
from projections.answers import Model, ModelSummary, VersionDetail
from projections.answers_deployments import ApprovalPolicy, Deployment
from projections.question import Question
from projections.readmodels import ReadModels, missing
from projections.routes.common import Exactly, Id, Limit, answer, documented, page_of, paged, without
from projections.routes.cursor import Cursor, Pages
from projections.routes.route import QueryRoute

SUMMARIES = Question(
    ("model_registry", "live_models"),
    {
        "models": """
            SELECT r.model, count(*) AS versions, max(r.version) AS latest, l.version AS live
            FROM model_registry r LEFT JOIN live_models l USING (model) WHERE r.model > coalesce(%(last)s, '')
            GROUP BY r.model, l.version ORDER BY r.model LIMIT %(rows)s
        """
    },
)
MODEL = Question(
    ("model_registry", "live_models"),
    {
        "versions": """
            SELECT * FROM model_registry WHERE model = %(model)s AND version < coalesce(%(before)s::bigint, 2147483648)
            ORDER BY version DESC LIMIT %(rows)s
        """,
        "live": "SELECT * FROM live_models WHERE model = %(model)s",
        "known": "SELECT 1 FROM model_registry WHERE model = %(model)s LIMIT 1",
    },
    key="model",
)
VERSION = Question(
    ("model_registry", "training_runs"),
    {
        "version": "SELECT * FROM model_registry WHERE model = %(model)s AND version = %(version)s",
        "run": """
            SELECT * FROM training_runs WHERE model = %(model)s AND run_id = (
                SELECT run_id FROM model_registry WHERE model = %(model)s AND version = %(version)s)
        """,
    },
    key="model",
)
DEPLOYMENTS = Question(
    ("deployments", "model_registry"),
    {
        # One whose request is not on record has no time of its own: it comes last, as NULL would come first.
        "deployments": """
            SELECT *, coalesce(requested_at, '-infinity') AS asked_at FROM deployments WHERE model = %(model)s
                AND (coalesce(requested_at, '-infinity'), deployment_id)
                    < (coalesce(%(at)s::timestamptz, 'infinity'), coalesce(%(last)s, ''))
            ORDER BY asked_at DESC, deployment_id DESC LIMIT %(rows)s
        """,
        "known": """
            SELECT 1 FROM model_registry WHERE model = %(model)s
            UNION ALL SELECT 1 FROM deployments WHERE model = %(model)s LIMIT 1
        """,
    },
    key="model",
)
DEPLOYMENT = Question(
    ("deployments",), {"deployment": "SELECT * FROM deployments WHERE deployment_id = %(deployment_id)s"}
)
WAITING = Question(
    ("deployments",),
    {
        "deployments": """
            SELECT * FROM deployments WHERE step = 'awaiting_approval' ORDER BY approve_until, deployment_id
            LIMIT %(rows)s
        """
    },
)
POLICY = Question(
    ("approval_policies", "model_registry", "deployments"),
    {
        "policy": "SELECT * FROM approval_policies WHERE model = %(model)s",
        "known": """
            SELECT 1 FROM model_registry WHERE model = %(model)s
            UNION ALL SELECT 1 FROM deployments WHERE model = %(model)s LIMIT 1
        """,
    },
    key="model",
)
NO_POLICY = {"approvals": 0, "requester_may_approve": False, "timeout_s": 604_800, "reason": "", "set_by": None}
"""What holds for a model of which nobody has said anything."""


def _no_model(model: str, position: str) -> NoReturn:
    missing(f"model '{model}'", "GET /models lists those that are registered", position)


def routes(models: ReadModels) -> APIRouter:
    """The routes under /models and /deployments."""
    router = APIRouter(route_class=QueryRoute, tags=["models"])

    @router.get(
        "/models",
        openapi_extra=open_to("approver", "auditor", "engineer"),
        responses=documented(list[ModelSummary], pages=True),
        summary="Every model, and which version serves",
    )
    async def all_models(fresh: Exactly, limit: Limit = 1000, cursor: Cursor = None) -> Response:
        pages = Pages.of("/models")
        (last,) = pages.place(cursor, str) or (None,)
        found = await models.ask(SUMMARIES, fresh, last=last, rows=limit + 1)
        rows, more = page_of(found.rows("models"), limit, pages, "model")
        return paged(rows, found.position, pages, limit, more)

    @router.get(
        "/models/{model}",
        openapi_extra=open_to("approver", "auditor", "engineer"),
        responses=documented(Model, pages=True),
        summary="A model's versions, newest first",
    )
    async def model(model: Id, fresh: Exactly, limit: Limit = 1000, cursor: Cursor = None) -> Response:
        pages = Pages.of(f"/models/{model}")
        (before,) = pages.place(cursor, int) or (None,)
        found = await models.ask(MODEL, fresh, model=model, before=before, rows=limit + 1)
        live = found.row("live")
        if found.row("known") is None and live is None:
            _no_model(model, found.position)
        versions, more = page_of(found.rows("versions"), limit, pages, "version")
        content = {"model": model, "versions": versions, "live": live, "next": more}
        return paged(content, found.position, pages, limit, more)

    @router.get(
        "/models/{model}/versions/{version}",
        openapi_extra=open_to("approver", "auditor", "engineer"),
        responses=documented(VersionDetail),
        summary="A version, and the run that made it",
    )
    async def version(model: Id, version: Annotated[int, Path(ge=1, le=2**31 - 1)], fresh: Exactly) -> Response:
        found = await models.ask(VERSION, fresh, model=model, version=version)
        row = found.row("version")
        if row is None:
            remedy = f"GET /models/{model} lists its versions"
            missing(f"version {version} of model '{model}'", remedy, found.position)
        return answer({**row, "training_run": found.row("run")}, found.position)

    @router.get(
        "/models/{model}/deployments",
        openapi_extra=open_to("approver", "auditor", "engineer"),
        responses=documented(list[Deployment], pages=True),
        summary="Deployments, newest first",
    )
    async def deployments(model: Id, fresh: Exactly, limit: Limit = 20, cursor: Cursor = None) -> Response:
        pages = Pages.of(f"/models/{model}/deployments")
        at, last = pages.place(cursor, str, str) or (None, None)
        found = await models.ask(DEPLOYMENTS, fresh, model=model, at=at, last=last, rows=limit + 1)
        if found.row("known") is None:
            _no_model(model, found.position)
        rows, more = page_of(found.rows("deployments"), limit, pages, "asked_at", "deployment_id")
        return paged([without(row, "asked_at") for row in rows], found.position, pages, limit, more)

    @router.get(
        "/deployments/{deployment_id}",
        openapi_extra=open_to("approver", "auditor", "engineer"),
        responses=documented(Deployment),
        summary="A deployment",
    )
    async def deployment(deployment_id: Id, fresh: Exactly) -> Response:
        found = await models.ask(DEPLOYMENT, fresh, deployment_id=deployment_id)
        document = found.document("deployment")
        if document is None:
            remedy = "GET /models/{model}/deployments lists a model's"
            missing(f"deployment '{deployment_id}'", remedy, found.position)
        return answer(document, found.position)

    @router.get(
        "/approvals",
        openapi_extra=open_to("approver", "auditor", "engineer"),
        responses=documented(list[Deployment]),
        summary="Deployments that wait for approvals, those that are given up first before the others",
    )
    async def waiting(fresh: Exactly, limit: Limit = 1000) -> Response:
        found = await models.ask(WAITING, fresh, rows=limit)
        return answer(found.rows("deployments"), found.position)

    @router.get(
        "/models/{model}/approval-policy",
        openapi_extra=open_to("approver", "auditor", "engineer"),
        responses=documented(ApprovalPolicy),
        summary="How many people have to approve a deployment of a model",
    )
    async def policy(model: Id, fresh: Exactly) -> Response:
        found = await models.ask(POLICY, fresh, model=model)
        row = found.row("policy")
        if row is None and found.row("known") is None:
            _no_model(model, found.position)
        return answer(row or {"model": model, **NO_POLICY, "set_at": None}, found.position)

    return router
