"""Searching events and decisions, for audits."""

from typing import Annotated, Any, get_args, get_type_hints
from uuid import UUID

from fastapi import APIRouter, Query, Response

from infra.access.openapi import open_to
from projections import interactions
from projections.answers_search import FoundDecisions, FoundEvents, FoundInteractions
from projections.personal import People
from projections.readmodels import ReadModels
from projections.routes.common import Fresh, Text, Time, answer, documented, page_of, paged, without
from projections.routes.cursor import Cursor, Pages
from projections.routes.route import QueryRoute
from projections.search.records import Asked, Records, page
from projections.views import events_search
from schemas.errors import Invalid
from schemas.interactions import InteractionRecorded
from schemas.topics import DECIDED

EVENTS = Records(
    view="events_search",
    path="/events/search",
    time="time",
    order=[{"topic": "asc"}, {"partition": "asc"}, {"offset": "desc"}],
)
DECISIONS = Records(
    view="decisions_search",
    path="/decisions/search",
    time="served_at",
    order=[{"decision_id": "asc"}],
    words=[
        "decision_id",
        "user_id",
        "model",
        "items",
        "artifact_sha256",
        "deployment_id",
        "source",
        "server",
        "fallback_reason",
    ],
)
TYPES = {event.__name__: str(event.AVRO) for event in events_search.INDEX.reads}
ELSEWHERE = {
    "interactions": "GET /interactions/search has the interactions",
    "decisions": "GET /decisions/search has the decisions",
}

INTERACTIONS = "/interactions/search"
KINDS = get_args(get_type_hints(InteractionRecorded)["kind"])
Kind = Annotated[str | None, Query(pattern=f"^({'|'.join(KINDS)})$", description="what the user did")]
Few = Annotated[int, Query(ge=1, le=200, description="how many at most")]
Since = Annotated[Time | None, Query(description="then or later")]
Until = Annotated[Time | None, Query(description="before then")]


def routes(models: ReadModels) -> APIRouter:
    """The routes that search what happened."""
    router = APIRouter(route_class=QueryRoute, tags=["audit"])
    people = People(models, models.settings)

    @router.get(
        "/events/search",
        openapi_extra=open_to("auditor", "engineer"),
        responses=documented(FoundEvents),
        summary="Events of the decided topics, newest first",
    )
    async def events(
        fresh: Fresh,
        id: Text = None,
        type: Annotated[
            str | None, Query(max_length=200, description="as ItemAdded or retrace.catalog.ItemAdded")
        ] = None,
        topic: Text = None,
        key: Text = None,
        user_id: Text = None,
        item_id: Text = None,
        model: Text = None,
        actor: Text = None,
        correlation_id: Text = None,
        causation_id: Text = None,
        since: Since = None,
        until: Until = None,
        limit: Few = 20,
        cursor: Cursor = None,
    ) -> Response:
        terms = {"id": id, "key": key, "user_id": user_id, "item_id": item_id, "model": model, "actor": actor}
        terms |= {"correlation_id": correlation_id, "causation_id": causation_id}
        terms |= {"type": _full_name(type), "topic": _indexed(topic)}
        found, total, more, position = await page(models, fresh, EVENTS, Asked(terms, since, until), limit, cursor)
        return answer({"events": found, "next": more, "total": total}, position)

    @router.get(
        "/interactions/search",
        openapi_extra=open_to("auditor", "engineer"),
        responses=documented(FoundInteractions, pages=True, person=True),
        summary="Interactions, newest first",
    )
    async def interactions_found(
        fresh: Fresh,
        id: UUID | None = None,
        user_id: Text = None,
        item_id: Text = None,
        kind: Kind = None,
        decision_id: Text = None,
        since: Since = None,
        until: Until = None,
        limit: Few = 20,
        cursor: Cursor = None,
    ) -> Response:
        about = {"id": id, "user_id": user_id, "item_id": item_id, "kind": kind, "decision_id": decision_id}
        filters: dict[str, Any] = {**about, "since": since, "until": until}
        pages = Pages.of(INTERACTIONS, **filters)
        given: dict[str, Any] = {name: value for name, value in filters.items() if value is not None}
        interactions.check(frozenset(given))
        place = pages.place(cursor, str, int, int)
        if place is not None:
            given |= dict(zip(("at", "partition", "offset"), place, strict=True))
        question = interactions.question(frozenset(name for name in given if name in interactions.FILTERS))
        given["rows"] = limit + 1
        found = await (people if user_id is not None else models).ask(question, fresh, **given)
        rows, more = page_of(found.rows("found"), limit, pages, *interactions.ORDER)
        content = {"interactions": [without(row, "partition", "offset") for row in rows], "next": more}
        return paged(content, found.position, pages, limit, more)

    @router.get(
        "/decisions/search",
        openapi_extra=open_to("auditor", "engineer"),
        responses=documented(FoundDecisions),
        summary="Decisions, newest first",
    )
    async def decisions(
        fresh: Fresh,
        q: Text = None,
        decision_id: Text = None,
        user_id: Text = None,
        model: Text = None,
        item_id: Text = None,
        deployment_id: Text = None,
        source: Text = None,
        since: Since = None,
        until: Until = None,
        limit: Few = 20,
        cursor: Cursor = None,
    ) -> Response:
        terms = {"decision_id": decision_id, "user_id": user_id, "model": model, "items": item_id}
        terms |= {"deployment_id": deployment_id, "source": source}
        asked = Asked(terms, since, until, q)
        found, total, more, position = await page(models, fresh, DECISIONS, asked, limit, cursor)
        return answer({"decisions": found, "next": more, "total": total}, position)

    return router


def _full_name(type: str | None) -> str | None:
    """The type of event that is meant.

    Raises:
        Invalid: there is no such type here.
    """
    if type is None or type in TYPES.values():
        return type
    if type not in TYPES:
        raise Invalid(
            f"'{type}' is no type of event that is searched; there are {', '.join(TYPES)}", code="unknown_type"
        )
    return TYPES[type]


def _indexed(topic: str | None) -> str | None:
    """The topic that is meant.

    Raises:
        Invalid: its events are not searched here.
    """
    if topic is None or topic in DECIDED:
        return topic
    elsewhere = ELSEWHERE.get(topic, f"there are {', '.join(DECIDED)}")
    raise Invalid(f"events of '{topic}' are not searched here; {elsewhere}", code="unknown_topic")
