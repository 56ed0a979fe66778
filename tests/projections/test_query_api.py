"""The query API: what it answers, what it refuses, and how it waits."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from psycopg import AsyncConnection
from pydantic import TypeAdapter

from infra.health import Health
from infra.kafka.connect import aiokafka_options
from infra.kafka.facts import FactWriter
from infra.kafka.partitioner import partition_of
from infra.kafka.records import Decoder
from infra.settings import Settings
from projections import answers, answers_deployments, answers_runs, answers_search
from projections.api import create_app
from projections.testing import minute
from schemas.access import ApiKeyCreated
from schemas.catalog import ItemAdded, ItemChanged, ItemRetired
from schemas.deployments import ApprovalPolicySet, ApprovalRequested, DeploymentRequested
from schemas.features import ItemTrendMeasured
from schemas.models import ModelRegistered, TrainingRequested
from schemas.outcomes import CommandRejected
from schemas.position import Position
from schemas.profiles import ConsentWithdrawn, UserRegistered

from ..eventually import eventually
from .conftest import Get
from .running import StartProjector
from .samples import completed, promoted, served
from .telling import Decided, append, folded, meta_of, ready, viewed


@pytest.fixture
async def told(
    settings: Settings,
    decoder: Decoder,
    database: AsyncConnection[Any],
    writer: FactWriter,
    projector: StartProjector,
    get: Get,
) -> list[Position]:
    """A small history in every read model, and a projector that goes on; answers the last positions."""
    async with AIOKafkaProducer(**aiokafka_options(settings.kafka)) as producer:
        log = Decided(settings, decoder, producer)
        metrics = {"recall": 0.4}
        registered = ModelRegistered(
            model="movies",
            version=1,
            run_id="r1",
            algorithm="ease",
            artifact_sha256="a1",
            dataset_sha256="d",
            metrics=metrics,
        )
        requested = DeploymentRequested(
            model="movies", deployment_id="d1", version=1, artifact_sha256="a1", requested_by="ana"
        )
        rejected = CommandRejected(command_id="c-no", command_type="t", code="exists", detail="known", status=409)
        history: list[Any] = [
            UserRegistered(user_id="ana", name="Ana"),
            ConsentWithdrawn(user_id="ana", purpose="training"),
            ItemAdded(item_id="i1", title="Star Wars", categories=("scifi", "adventure")),
            ItemAdded(item_id="i2", title="Alien", description="A star ship", categories=("scifi", "horror")),
            ItemAdded(item_id="i3", title="Old Star", categories=("drama",)),
            ItemChanged(item_id="i1", title="Star Wars IV"),
            ItemRetired(item_id="i3"),
            TrainingRequested(model="movies", run_id="r1", algorithm="ease"),
            completed("r1"),
            registered,
            requested,
            promoted(1, "d1"),
            ApprovalPolicySet(model="movies", approvals=1, set_by="root"),
            ApprovalRequested(
                model="songs",
                deployment_id="d2",
                version=1,
                artifact_sha256="a2",
                approvals_wanted=1,
                timeout_s=60,
                evidence_sha256="e",
            ),
            ApiKeyCreated(key_id="k1", secret_sha256="0" * 64, name="shop", roles=("product",)),
        ]
        positions = [await log.append(event) for event in history]
        positions.append(await log.append(rejected, topic="profiles", key="ana"))
    positions += await append(writer, viewed("ana", "i1", 1), viewed("ana", "i2", 2), viewed("ana", "i2", 3))
    trend = ItemTrendMeasured(item_id="i2", window_start=minute(0), window_end=minute(5), interactions=2, score=2.5)
    positions += await writer.append_all(
        [(served("dec1"), meta_of(served("dec1"), "ana")), (trend, meta_of(trend, "i2"))]
    )
    await folded(settings, database, projector())
    return positions


NOON_TEXT = "2026-01-31T12:00:00Z"


def of(positions: list[Position], topic: str) -> str:
    """The positions on a topic, as a client would give them."""
    return ",".join(str(position) for position in positions if position.topic == topic)


ANSWERS: list[tuple[str, str, Any, dict[str, Any]]] = [
    ("/users/ana", "profiles", answers.Profile, {"name": "Ana", "training": False, "version": 2}),
    ("/users/ana/history", "interactions", answers.History, {"user_id": "ana", "next": None}),
    ("/items/i1", "catalog", answers.Item, {"title": "Star Wars IV", "retired": False, "version": 2}),
    ("/items", "catalog", answers.Items, {"next": None}),
    ("/models", "models", list[answers.ModelSummary], {}),
    ("/models/movies", "deployments", answers.Model, {"model": "movies"}),
    ("/models/movies/versions/1", "models", answers.VersionDetail, {"algorithm": "ease", "retired": False}),
    ("/training-runs/r1", "models", answers_runs.TrainingRun, {"status": "completed"}),
    ("/models/movies/deployments", "deployments", list[answers_deployments.Deployment], {}),
    ("/deployments/d1", "deployments", answers_deployments.Deployment, {"step": "promoted", "requested_by": "ana"}),
    ("/models/movies/approval-policy", "deployments", answers_deployments.ApprovalPolicy, {"approvals": 1}),
    ("/approvals", "deployments", list[answers_deployments.Deployment], {}),
    ("/decisions/dec1", "decisions", answers.Decision, {"user_id": "ana", "source": "model"}),
    ("/users/ana/decisions", "decisions", list[answers.Decision], {}),
    ("/commands/c-no", "profiles", answers.CommandAnswer, {"outcome": "rejected", "status": 409, "repeats": 0}),
    ("/popular", "interactions", list[answers.PopularItem], {}),
    ("/trending", "features", list[answers.TrendingItem], {}),
    ("/items/search", "catalog", answers_search.FoundItems, {"total": 2}),
    ("/decisions/search", "decisions", answers_search.FoundDecisions, {"total": 1}),
    ("/api-keys", "access", list[answers.KeyOnRecord], {}),
]


async def test_every_query_reads_ones_own_writes(told: list[Position], get: Get) -> None:
    """The answer is as documented, waits for what the client has written, and says what it speaks for."""
    for path, topic, model, expected in ANSWERS:
        status, document, headers = await get(path, **{"min-position": of(told, topic), "wait": 20})
        assert status == 200, (path, document)
        TypeAdapter(model).validate_python(document, strict=False)
        if isinstance(document, dict):
            assert {name: document[name] for name in expected} == expected, path
        else:
            assert len(document) >= 1, path
        assert of(told, topic).split(",")[-1].rsplit("/", 1)[0] in headers["x-position"], path


async def test_search_ranks_filters_and_counts(told: list[Position], get: Get) -> None:
    """Retired items stay out, a typo is forgiven, categories are counted over all that was found."""
    fresh = {"min-position": of(told, "catalog"), "wait": 20}
    _, found, _ = await get("/items/search", q="star", **fresh)
    assert [item["item_id"] for item in found["items"]] == ["i1", "i2"]
    assert {facet["category"]: facet["items"] for facet in found["categories"]} == {
        "scifi": 2,
        "adventure": 1,
        "horror": 1,
    }
    _, typo, _ = await get("/items/search", q="Alein", **fresh)
    assert [item["item_id"] for item in typo["items"]] == ["i2"]
    _, horror, _ = await get("/items/search", q="star", category="horror", **fresh)
    assert [item["item_id"] for item in horror["items"]] == ["i2"]


async def test_decisions_are_searched_by_what_they_hold(told: list[Position], get: Get) -> None:
    """An auditor asks by user, item, model and time."""
    fresh = {"min-position": of(told, "decisions"), "wait": 20}
    for hit in (
        {"q": "dec1"},
        {"user_id": "ana"},
        {"item_id": "a"},
        {"since": NOON_TEXT},
        {"model": "movies"},
    ):
        assert (await get("/decisions/search", **hit, **fresh))[1]["total"] == 1, hit
    for miss in ({"q": "dec2"}, {"user_id": "bo"}, {"until": NOON_TEXT}, {"source": "popular"}):
        assert (await get("/decisions/search", **miss, **fresh))[1]["total"] == 0, miss


async def test_history_comes_in_pages(told: list[Position], get: Get) -> None:
    """Pages neither repeat nor skip, whatever was written in between."""
    seen: list[str] = []
    document: dict[str, Any] = {}
    page: dict[str, Any] = {"min-position": of(told, "interactions"), "wait": 20}
    for _ in range(3):
        _, document, _ = await get("/users/ana/history", limit=1, **page)
        seen += [entry["position"].rsplit("/", 1)[1] for entry in document["interactions"]]
        page = {"cursor": document["next"]}
    assert seen == ["2", "1", "0"]
    assert document["next"] is None


async def test_popular_and_trending_leave_retired_items_out(told: list[Position], get: Get) -> None:
    """They are what an unknown user is shown."""
    _, popular, _ = await get("/popular", **{"min-position": of(told, "interactions"), "wait": 20})
    assert [(item["item_id"], item["interactions"], item["title"]) for item in popular] == [
        ("i2", 2, "Alien"),
        ("i1", 1, "Star Wars IV"),
    ]
    _, of_category, _ = await get("/popular", category="adventure")
    assert [item["item_id"] for item in of_category] == ["i1"]


NONSENSE = [
    ("/users/nobody", "not_found"),
    ("/users/nobody/history", "not_found"),
    ("/items/none", "not_found"),
    ("/models/none", "not_found"),
    ("/models/none/versions/1", "not_found"),
    ("/decisions/none", "not_found"),
    ("/deployments/none", "not_found"),
    ("/training-runs/none", "not_found"),
    ("/commands/none", "not_found"),
    ("/nowhere", "no_such_route"),
    ("/popular?limit=0", "invalid"),
    ("/popular?limit=100000", "invalid"),
    ("/popular?limit=ten", "invalid"),
    ("/popular?wait=31", "invalid"),
    ("/users/a%00b", "invalid"),
    ("/items/search?q=", "invalid"),
    ("/items/search?q=a%00", "invalid"),
    ("/decisions/search?since=then", "invalid"),
    ("/models/movies/versions/0", "invalid"),
    ("/models/movies/versions/99999999999", "invalid"),
    ("/users/ana/history?before=then", "invalid"),
    ("/users/ana/history?cursor=then", "bad_cursor"),
    ("/users/ana?min-position=profiles", "bad_position"),
    ("/users/ana?min-position=profiles/0/-1", "bad_position"),
    ("/users/ana?min-position=nowhere/0/0", "unknown_topic"),
    ("/users/ana?min-position=catalog/0/0", "position_of_another_topic"),
    ("/users/ana?min-position=profiles/77/0", "unknown_partition"),
    ("/users/ana?min-position=" + ",".join(["profiles/0/0"] * 65), "too_many_positions"),
    ("/users/ana?min-position=profiles/0/99999999999999999999999", "bad_position"),
]


async def test_what_makes_no_sense_is_a_problem(projected: Get) -> None:
    """Every fault has a stable code and a sentence that names the remedy; none is a fault of ours."""
    for path, code in NONSENSE:
        status, problem, headers = await projected(path)
        assert (problem["code"], problem["status"]) == (code, status), (path, problem)
        assert status in (404, 422), path
        assert len(problem["detail"]) > 10, path
        assert headers["content-type"] == "application/problem+json", path


@pytest.fixture
async def projected(projector: StartProjector, get: Get) -> Get:
    """The query API with empty read models."""
    running = projector()
    await eventually(lambda: ready(running), within_s=60)
    return get


async def test_a_query_that_cannot_be_fresh_says_how_far_behind(
    projector: StartProjector, get: Get, writer: FactWriter
) -> None:
    """A client must tell `not yet` from `never`: late is 504 with events and seconds, past the end is 422."""
    running = projector()
    await eventually(lambda: ready(running), within_s=60)
    await running.stop()
    *_, last = await append(writer, *(viewed("ana", f"i{number}", number) for number in range(3)))

    async def aged() -> Any:
        status, problem, _ = await get("/users/ana/history", **{"min-position": str(last), "wait": "0.2"})
        assert (status, problem["code"]) == (504, "position_not_reached")
        (behind,) = problem["behind"]
        return problem if behind.get("seconds", 0) >= 1 else None

    problem = await eventually(aged)
    assert f"3 records behind {last}, the oldest of them" in problem["detail"]
    (behind,) = problem["behind"]
    assert (behind["wanted"], behind["missing"], behind["events"]) == (str(last), 3, 3)
    past = replace(last, offset=41)
    status, problem, _ = await get("/users/ana/history", **{"min-position": f"{last},{past}", "wait": "0.2"})
    assert (status, problem["code"]) == (422, "position_past_end")
    assert f"its last position is {last}" in problem["detail"]


async def test_a_waiting_query_is_woken(projected: Get, writer: FactWriter, settings: Settings) -> None:
    """Waiting costs the time of folding, and not all of the time that the client has."""
    partition = partition_of("ana", settings.kafka.partitions)
    asked = asyncio.ensure_future(
        projected("/users/ana/history", **{"min-position": f"interactions/{partition}/0", "wait": 30})
    )
    await asyncio.sleep(0.3)
    assert not asked.done()
    await append(writer, viewed("ana"))
    status, document, _ = await asyncio.wait_for(asked, 20)
    assert (status, len(document["interactions"])) == (200, 1)


WELL = {("running", 0)}
"""State of every projection, and the events that it is behind."""


async def test_projections_tell_how_they_are(projected: Get) -> None:
    """Whoever is on call looks here first."""

    async def all_well() -> Any:
        status, found, _ = await projected("/projections")
        return found if status == 200 and {(one["state"], one["lag_events"]) for one in found} == WELL else None

    found = await eventually(all_well)
    TypeAdapter(list[answers.ProjectionStatus]).validate_python(found)


async def test_without_a_projector_the_queries_say_so(get: Get) -> None:
    """The read models of a fresh installation are missing, not empty."""
    status, problem, _ = await get("/users/ana")
    assert (status, problem["code"]) == (503, "unavailable")
    assert "retrace serve projector" in problem["detail"]


async def test_openapi_describes_every_route(get: Get) -> None:
    """The document is what clients are generated from."""
    _, document, _ = await get("/openapi.json")
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
    assert len(document["paths"]) >= len(ANSWERS) + 1


async def test_a_store_that_is_away_is_told(settings: Settings) -> None:
    """Whoever is on call reads the cause; without Elasticsearch all but the searches go on."""
    nowhere = settings.elastic.model_copy(update={"url": "http://127.0.0.1:9"})
    health = Health("queries")
    app = create_app(settings.model_copy(update={"elastic": nowhere}), health)
    async with app.router.lifespan_context(app):

        async def told() -> bool:
            found = health.components
            return "elasticsearch" in found and found["postgres"].ok and not found["elasticsearch"].ok

        await eventually(told)
        assert "searches answer 503" in health.components["elasticsearch"].cause
        assert not health.components["elasticsearch"].vital
