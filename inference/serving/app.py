"""The recommendation API: answers from the live history, and records what it answered.

It waits for no Kafka; while PostgreSQL or Triton is away it falls back (docs/explanation/serving-and-fallbacks.md).
"""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import structlog
from fastapi import FastAPI, Path, Query, Request, Response
from prometheus_client import Histogram
from uuid6 import uuid7

from inference.artifact import Metadata
from inference.explaining.api import Explaining, add_to
from inference.serving.lastgood import LastGood
from inference.serving.reads import Live, ReadModels
from inference.serving.recommend import Outcome, Recommender
from inference.serving.recorder import Recorder, Ticket, record
from inference.serving.routing import Routing
from inference.serving.scoring import Scoring
from inference.store import ArtifactStore
from inference.triton.repository import triton_name
from infra.access.gate import Gate
from infra.access.identity import Identity
from infra.access.openapi import open_to
from infra.access.route import guarded, identity_of
from infra.health import Health
from infra.settings import Settings
from schemas.decisions import RecommendationServed, ScoredItem
from schemas.envelope import Meta
from schemas.errors import Invalid, Problem

JSON = "application/json"
SHUTDOWN_S = 8.0
HEALTH_S = 1.0
USER_ID = r"^[^\x00-\x1f]{1,128}$"
MODEL = r"^[a-z][a-z0-9_-]{0,62}$"

SECONDS = Histogram(
    "retrace_recommend_seconds",
    "From request to answer.",
    ["source"],
    buckets=(0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 1),
)


log = structlog.get_logger()


@dataclass(frozen=True)
class Parts:
    """What the routes work with."""

    settings: Settings
    routing: Routing
    recommender: Recommender
    recorder: Recorder


def create_app(settings: Settings, health: Health) -> FastAPI:
    """The HTTP service of the role `serving`."""
    gate = Gate(settings, health)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with _running(settings, health) as parts, gate.kept():
            app.state.parts = parts
            app.state.explaining = Explaining(settings)
            yield

    app = guarded(FastAPI(title="Retrace recommendations", lifespan=lifespan), gate)
    app.add_api_route(
        "/users/{user_id}/recommendations",
        recommendations,
        methods=["GET"],
        tags=["recommendations"],
        summary="What to show a user, and under which decision it is on record",
        openapi_extra=open_to("product"),
    )
    add_to(app)
    return app


async def recommendations(
    request: Request,
    user_id: Annotated[str, Path(pattern=USER_ID)],
    model: Annotated[str | None, Query(pattern=MODEL, description="default: the setting default_model")] = None,
    limit: Annotated[int, Query(ge=1, description="items wanted; the setting max_limit is the most")] = 10,
) -> Response:
    """Answer and record; the record is written afterwards."""
    started = time.perf_counter()
    parts: Parts = request.app.state.parts
    name = model or parts.settings.recommend.default_model
    limit = _within(limit, parts.settings.recommend.max_limit)
    parts.recorder.admit()
    decision_id = str(uuid7())
    outcome = await parts.recommender.recommend(user_id, name, limit, decision_id)
    latency_s = time.perf_counter() - started
    SECONDS.labels(outcome.source).observe(latency_s)
    served = _served(outcome, user_id, decision_id, name, limit, latency_s * 1000, parts.recorder.ticket())
    parts.recorder.put(served, _meta(served, request.state.correlation_id, identity_of(request)))
    return Response(orjson.dumps(_document(served, parts.routing.world.catalogue.titles)), media_type=JSON)


@asynccontextmanager
async def _running(settings: Settings, health: Health) -> AsyncIterator[Parts]:
    """Everything the service needs, in the order it starts; what waits is recorded before it stops."""
    options = settings.recommend
    async with AsyncExitStack() as stack:
        reads = await stack.enter_async_context(ReadModels(settings))
        scoring = await stack.enter_async_context(Scoring(settings))
        store = ArtifactStore(settings)

        async def prepare(live: Live) -> Metadata:
            metadata = await store.metadata(live.artifact_sha256)
            await scoring.warm(triton_name(live.model, live.version), metadata)
            return metadata

        last_good = LastGood(options.last_good)
        routing = Routing(reads, prepare, poll_s=options.poll_ms / 1000, last_good=last_good)
        recorder = Recorder(options.queue_size, options.queue_full, settings.ticket_folder)
        with suppress(Problem):
            await routing.refresh()
        following = _watched("routing", routing.run(health), health)
        telling = _watched("health", _tell(scoring, health), health)
        recording = _watched("recording", record(settings, recorder, health), health)
        try:
            yield Parts(settings, routing, Recommender(reads, routing, scoring, last_good), recorder)
        finally:
            following.cancel()
            telling.cancel()
            recorder.close()
            await asyncio.wait({recording}, timeout=SHUTDOWN_S)
            recording.cancel()
            recorder.abandon()


def _watched(name: str, work: Coroutine[Any, Any, None], health: Health) -> "asyncio.Task[None]":
    """Run `work` beside the requests. A fault in it stops the service: half a service would answer wrongly."""

    def ended(task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (fault := task.exception()) is not None:
            health.failed(name, repr(fault))
            log.error("service stops", part=name, exc_info=fault)
            signal.raise_signal(signal.SIGTERM)

    task = asyncio.create_task(work, name=name)
    task.add_done_callback(ended)
    return task


async def _tell(scoring: Scoring, health: Health) -> None:
    """Say how the Triton servers are. Without them there are still answers, so the service stays ready."""
    while True:
        health.ok("triton", scoring.note)
        await asyncio.sleep(HEALTH_S)


def _within(limit: int, most: int) -> int:
    if limit > most:
        detail = f"limit is {limit}, at most {most} items are answered"
        raise Invalid(detail, code="limit", errors=[{"pointer": "/limit", "detail": detail}])
    return limit


def _served(
    outcome: Outcome, user_id: str, decision_id: str, model: str, limit: int, latency_ms: float, ticket: Ticket
) -> RecommendationServed:
    offer = outcome.offer
    live = offer.route.live if offer.route else None
    return RecommendationServed(
        user_id=user_id,
        decision_id=decision_id,
        model=model,
        source=outcome.source,
        fallback_reason=offer.reason,
        version=live.version if live else None,
        artifact_sha256=live.artifact_sha256 if live else None,
        deployment_id=live.deployment_id if live else None,
        arm=offer.route.arm if offer.route else "default",
        positions=outcome.positions,
        history_length=outcome.history_length,
        history_sha256=outcome.history_sha256,
        candidates=len(offer.scored),
        filtered=outcome.filtered,
        based_on=offer.based_on,
        limit=limit,
        items=tuple(ScoredItem(item_id=item_id, score=score) for item_id, score in outcome.items),
        served_at=datetime.now(UTC),
        latency_ms=latency_ms,
        server=ticket.server,
        sequence=ticket.sequence,
    )


def _meta(served: RecommendationServed, correlation_id: str, identity: Identity) -> Meta:
    return Meta(
        id=uuid7(),
        type=served.AVRO,
        source="serving",
        subject=served.user_id,
        time=served.served_at,
        actor=identity.actor,
        tenant=identity.tenant,
        correlation_id=correlation_id,
    )


def _document(served: RecommendationServed, titles: Mapping[str, str | None]) -> dict[str, Any]:
    """The answer as JSON."""
    return {
        "decision_id": served.decision_id,
        "user_id": served.user_id,
        "model": served.model,
        "version": served.version,
        "source": served.source,
        "fallback_reason": served.fallback_reason,
        "based_on": served.based_on,
        "items": [{"item_id": i.item_id, "title": titles.get(i.item_id), "score": i.score} for i in served.items],
        "history_length": served.history_length,
        "as_of": [{"view": p.view, "position": f"{p.topic}/{p.partition}/{p.next_offset}"} for p in served.positions],
        "latency_ms": round(served.latency_ms, 3),
    }
