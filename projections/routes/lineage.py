"""Lineage: what a version was made from, and which versions have seen a person, an item or a part of the log."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from infra.access.openapi import open_to, open_to_all
from infra.index.reading import Way
from infra.kafka.ranges import ranges_now
from projections.answers_lineage import Seen, VersionLineage
from projections.lineage.context import read_by
from projections.lineage.finding import Finder, spanned
from projections.lineage.judge import INTERACTIONS, Matter, Recipe, Verdict, judge
from projections.question import Answer, Question
from projections.readmodels import ReadModels, missing
from projections.routes.common import PROBLEMS, Exactly, Fresh, Id, answer, documented, problem_of, without
from projections.routes.route import QueryRoute
from schemas.errors import NotFound
from schemas.models import OffsetRange
from schemas.openlineage import FACETS

TRAINED = Question(
    ("model_registry", "training_runs", "live_models"),
    {
        "versions": """
            SELECT v.model, v.version, v.run_id, v.algorithm, v.artifact_sha256, v.dataset_sha256, v.retired,
                v.registered_at, r.dataset_rows, r.ranges, r.dataset, r.manifest, (l.version IS NOT NULL) AS live
            FROM model_registry v LEFT JOIN training_runs r USING (model, run_id)
                LEFT JOIN live_models l USING (model, version)
            ORDER BY v.model, v.version
        """
    },
)
VERSION = Question(
    ("model_registry", "training_runs", "training_steps", "deployments", "live_models"),
    {
        "version": "SELECT * FROM model_registry WHERE model = %(model)s AND version = %(version)s",
        "run": """
            SELECT * FROM training_runs WHERE model = %(model)s AND run_id = (
                SELECT run_id FROM model_registry WHERE model = %(model)s AND version = %(version)s)
        """,
        "steps": """
            SELECT name, attempt, at, actor, correlation_id, event_id, details,
                'models/' || partition || '/' || "offset" AS position FROM training_steps
            WHERE model = %(model)s AND name <> 'progressed' AND run_id = (
                SELECT run_id FROM model_registry WHERE model = %(model)s AND version = %(version)s)
            ORDER BY "offset"
        """,
        "deployments": """
            SELECT * FROM deployments WHERE model = %(model)s AND version = %(version)s ORDER BY requested_at
        """,
        "live": "SELECT 1 FROM live_models WHERE model = %(model)s AND version = %(version)s",
    },
    key="model",
)
NEWEST = Question(
    ("model_registry",), {"newest": "SELECT max(version) AS version FROM model_registry WHERE model = %(model)s"}
)

SCHEMA: dict[int | str, dict[str, Any]] = {
    200: {"description": "A JSON schema.", "content": {"application/schema+json": {"schema": {"type": "object"}}}},
    304: {"description": "You have it already: If-None-Match names its ETag."},
    **{
        status: {"description": text, **problem_of(status)} for status, text in PROBLEMS.items() if status in (404, 422)
    },
}

Offset = Annotated[int, Query(ge=0, le=2**62)]
Find = Callable[[Finder, list[OffsetRange]], Awaitable[Matter]]


def routes(models: ReadModels) -> APIRouter:
    """The routes under /lineage."""
    router = APIRouter(route_class=QueryRoute, tags=["lineage"])
    finder = Finder(models.settings)

    async def seen(fresh: Fresh, about: dict[str, Any], find: Find) -> Response:
        found = await models.ask(TRAINED, fresh)
        versions = found.rows("versions")
        log = await ranges_now(models.settings, {INTERACTIONS})
        ranges = [OffsetRange(**part) for version in versions for part in version["ranges"] or ()]
        matter = await find(finder, spanned(ranges, log))
        told = [_told(version, judge(_recipe(version), matter), _doubt(version, log)) for version in versions]
        said = {"about": about, "interactions": len(matter.rows), "read": _read(matter.ways), "versions": told}
        return answer(said, found.position)

    async def touched(fresh: Fresh, about: dict[str, Any], part: OffsetRange) -> Response:
        found = await models.ask(TRAINED, fresh)
        context = await finder.of_context(part)
        told = [
            _told(version, read_by(_recipe(version), _folded(version), context), _older(version))
            for version in found.rows("versions")
        ]
        way = Way(
            part.topic, part.partition, part.first, part.end, part.end - part.first, why="all of it was asked for"
        )
        said = {"about": about, "interactions": len(context.rows), "read": _read([way]), "versions": told}
        return answer(said, found.position)

    @router.get(
        "/lineage/users/{user_id}",
        openapi_extra=open_to("auditor", "engineer", "product"),
        responses=documented(Seen),
        summary="Which versions were fitted on what a person did; also of one who has been erased",
    )
    async def of_user(user_id: Id, fresh: Fresh) -> Response:
        return await seen(fresh, {"user_id": user_id}, lambda finder, ranges: finder.of_user(user_id, ranges))

    @router.get(
        "/lineage/items/{item_id}",
        openapi_extra=open_to("auditor", "engineer", "product"),
        responses=documented(Seen),
        summary="Which versions were fitted on interactions with an item",
    )
    async def of_item(item_id: Id, fresh: Fresh) -> Response:
        return await seen(fresh, {"item_id": item_id}, lambda finder, ranges: finder.of_item(item_id, ranges))

    @router.get(
        "/lineage/requests/{correlation_id}",
        openapi_extra=open_to("auditor", "engineer"),
        responses=documented(Seen),
        summary="Which versions were fitted on what a request, such as an upload, has written",
    )
    async def of_request(correlation_id: Id, fresh: Fresh) -> Response:
        about = {"correlation_id": correlation_id}
        return await seen(fresh, about, lambda finder, ranges: finder.of_request(correlation_id, ranges))

    @router.get(
        "/lineage/ranges/{topic}/{partition}",
        openapi_extra=open_to("auditor", "engineer"),
        responses=documented(Seen),
        summary="Which versions were fitted on first <= offset < end; of profiles and catalog: have read it for that",
    )
    async def of_range(
        topic: Id, partition: Annotated[int, Path(ge=0, le=2**31 - 1)], first: Offset, end: Offset, fresh: Fresh
    ) -> Response:
        part = OffsetRange(topic=topic, partition=partition, first=first, end=end)
        about = {"range": {"topic": topic, "partition": partition, "first": first, "end": end}}
        if topic != INTERACTIONS:
            return await touched(fresh, about, part)
        return await seen(fresh, about, lambda finder, ranges: finder.of_range(part, ranges))

    @router.get(
        "/lineage/models/{model}",
        openapi_extra=open_to("approver", "auditor", "engineer"),
        responses=documented(VersionLineage),
        summary="What a version was made from: run, dataset, offset ranges; the newest unless told otherwise",
    )
    async def of_version(
        model: Id, fresh: Exactly, version: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None
    ) -> Response:
        number = version or ((await models.ask(NEWEST, fresh, model=model)).row("newest") or {}).get("version")
        found = await models.ask(VERSION, fresh, model=model, version=number or 0)
        if found.row("version") is None:
            which = f"version {number} of model '{model}'" if number else f"model '{model}'"
            missing(which, "GET /models lists what is registered", found.position)
        return answer(_chain(found), found.position)

    @router.get(
        "/lineage/facets/{name}",
        openapi_extra=open_to_all(),
        response_class=Response,
        responses=SCHEMA,
        summary="The schema of a facet of ours in OpenLineage events",
    )
    async def facet(name: Id) -> Response:
        schema = FACETS.get(name)
        if schema is None:
            raise NotFound(f"there is no facet '{name}' of ours; there are {', '.join(FACETS)}", code="unknown_facet")
        return Response(schema, media_type="application/schema+json")

    return router


def _chain(found: Answer) -> dict[str, Any]:
    """A version, and what it comes from, each step naming the next."""
    version, run = found.row("version") or {}, found.row("run")
    parts = [] if run is None else [{**part, "offsets": part["end"] - part["first"]} for part in run["ranges"]]
    return {
        "version": version,
        "live": found.row("live") is not None,
        "run": run and without(run, "ranges", "manifest", "dataset"),
        "dataset": run and {name: run[name] for name in ("dataset_sha256", "dataset_rows", "duplicates", "dataset")},
        "ranges": parts,
        "steps": found.rows("steps"),
        "deployments": found.rows("deployments"),
    }


def _told(version: dict[str, Any], verdict: Verdict, doubt: str | None) -> dict[str, Any]:
    """What a version has seen."""
    return {
        **without(version, "ranges", "dataset", "manifest"),
        **asdict(verdict),
        "saw": verdict.rows > 0,
        "exact": doubt is None,
        "doubt": doubt,
    }


def _read(ways: Iterable[Way]) -> dict[str, Any]:
    """How it was found."""
    ways = list(ways)
    return {
        "scanned": sum(way.read for way in ways),
        "picked": sum(way.picked for way in ways),
        "indexed": sum(way.indexed for way in ways),
        "why": sorted({way.why for way in ways if way.why}),
    }


def _recipe(version: dict[str, Any]) -> Recipe:
    ranges = tuple(OffsetRange(**part) for part in version["ranges"] or ())
    dataset = version["dataset"]
    if dataset is None:
        return Recipe(ranges, ranges, ())
    return Recipe(ranges, tuple(OffsetRange(**part) for part in dataset["erasures"]), tuple(dataset["silent_kinds"]))


def _folded(version: dict[str, Any]) -> list[OffsetRange]:
    """What its features were folded from."""
    known = (version["manifest"] or {}).get("known") or {}
    return [OffsetRange(**part) for part in known.get("ranges", ())]


def _older(version: dict[str, Any]) -> str | None:
    if version["dataset"] is None:
        return "the run is older than the record of how datasets are built: erasures and silent kinds are not known"
    return None


def _doubt(version: dict[str, Any], log: Sequence[OffsetRange]) -> str | None:
    """Why the answer may not be exact; None when it is."""
    if older := _older(version):
        return older
    if any((version["manifest"] or {}).get("filters", {}).values()):
        return "the dataset was filtered, which is not looked at here: look into its rows (`retrace dataset show`)"
    firsts = {part.partition: part.first for part in log}
    cut = [p for p in version["ranges"] if p["topic"] == INTERACTIONS and p["first"] < firsts.get(p["partition"], 0)]
    return "a part of what it read is no longer in the log" if cut else None
