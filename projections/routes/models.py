"""Models: their versions, the runs that made them, the deployments that brought them."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from infra.access.openapi import open_to
from infra.access.route import GuardedRoute
from projections.answers import Deployment, Model, ModelSummary, TrainingRun, VersionDetail
from projections.readmodels import ReadModels
from projections.routes.common import Fresh, Id, Limit, answer, documented


def routes(models: ReadModels) -> APIRouter:
    """The routes under /models, /training-runs and /deployments."""
    router = APIRouter(route_class=GuardedRoute, tags=["models"])

    @router.get(
        "/models",
        openapi_extra=open_to("approver", "auditor", "engineer"),
        responses=documented(list[ModelSummary]),
        summary="Every model, and which version serves",
    )
    async def all_models(fresh: Fresh) -> Response:
        async with models.snapshot(fresh, "model_registry", "live_models") as snapshot:
            rows = await snapshot.rows(
                """SELECT r.model, count(*) AS versions, max(r.version) AS latest, l.version AS live
                   FROM model_registry r LEFT JOIN live_models l USING (model)
                   GROUP BY r.model, l.version ORDER BY r.model"""
            )
        return answer(rows, snapshot.position)

    @router.get(
        "/models/{model}",
        openapi_extra=open_to("approver", "auditor", "engineer"),
        responses=documented(Model),
        summary="A model's versions, newest first",
    )
    async def model(model: Id, fresh: Fresh) -> Response:
        async with models.snapshot(fresh, "model_registry", "live_models") as snapshot:
            versions = await snapshot.rows("SELECT * FROM model_registry WHERE model = %s ORDER BY version DESC", model)
            live = await snapshot.row("SELECT * FROM live_models WHERE model = %s", model)
            if not versions and live is None:
                snapshot.missing(f"model '{model}'", "GET /models lists those that are registered")
        return answer({"model": model, "versions": versions, "live": live}, snapshot.position)

    @router.get(
        "/models/{model}/versions/{version}",
        openapi_extra=open_to("approver", "auditor", "engineer"),
        responses=documented(VersionDetail),
        summary="A version, and the run that made it",
    )
    async def version(model: Id, version: Annotated[int, Path(ge=1, le=2**31 - 1)], fresh: Fresh) -> Response:
        async with models.snapshot(fresh, "model_registry", "training_runs") as snapshot:
            row = await snapshot.row("SELECT * FROM model_registry WHERE model = %s AND version = %s", model, version)
            if row is None:
                snapshot.missing(f"version {version} of model '{model}'", f"GET /models/{model} lists its versions")
            run = await snapshot.row("SELECT * FROM training_runs WHERE run_id = %s", row["run_id"])
        return answer({**row, "training_run": run}, snapshot.position)

    @router.get(
        "/training-runs/{run_id}",
        openapi_extra=open_to("approver", "auditor", "engineer"),
        responses=documented(TrainingRun),
        summary="A training run",
    )
    async def training_run(run_id: Id, fresh: Fresh) -> Response:
        async with models.snapshot(fresh, "training_runs") as snapshot:
            row = await snapshot.row("SELECT * FROM training_runs WHERE run_id = %s", run_id)
            if row is None:
                snapshot.missing(f"training run '{run_id}'", "ask for one with the command RequestTraining")
        return answer(row, snapshot.position)

    @router.get(
        "/models/{model}/deployments",
        openapi_extra=open_to("approver", "auditor", "engineer"),
        responses=documented(list[Deployment]),
        summary="Deployments, newest first",
    )
    async def deployments(model: Id, fresh: Fresh, limit: Limit = 20) -> Response:
        async with models.snapshot(fresh, "deployments", "model_registry") as snapshot:
            rows = await snapshot.rows(
                "SELECT * FROM deployments WHERE model = %s ORDER BY requested_at DESC, deployment_id DESC LIMIT %s",
                *(model, limit),
            )
            if not rows and not await snapshot.row("SELECT 1 FROM model_registry WHERE model = %s LIMIT 1", model):
                snapshot.missing(f"model '{model}'", "GET /models lists those that are registered")
        return answer(rows, snapshot.position)

    @router.get(
        "/deployments/{deployment_id}",
        openapi_extra=open_to("approver", "auditor", "engineer"),
        responses=documented(Deployment),
        summary="A deployment",
    )
    async def deployment(deployment_id: Id, fresh: Fresh) -> Response:
        async with models.snapshot(fresh, "deployments") as snapshot:
            row = await snapshot.row("SELECT * FROM deployments WHERE deployment_id = %s", deployment_id)
            if row is None:
                snapshot.missing(f"deployment '{deployment_id}'", "GET /models/{model}/deployments lists a model's")
        return answer(row, snapshot.position)

    return router
