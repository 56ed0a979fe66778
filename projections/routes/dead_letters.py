"""Dead letters: what could not be taken, why, what waits behind it, and what became of it."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from infra.access.openapi import open_to
from projections.answers_dead_letters import (
    Cause,
    DeadLetters,
    DeadLetterShown,
    RequestOnRecord,
    Selected,
    State,
)
from projections.question import Question
from projections.readmodels import ReadModels, missing
from projections.record import shown
from projections.routes.common import NO_NUL, Fresh, Limit, Text, answer, documented, page_of, paged
from projections.routes.cursor import Cursor, Pages
from projections.routes.route import QueryRoute
from projections.selection import selected

LETTERS = """
    SELECT d.letter_id, d.consumer AS view, d.version, nullif(d.position, '') AS position, d.key,
        nullif(d.type, '') AS type, CASE WHEN p.code IS NOT NULL THEN 'parked' WHEN d.state = 'parked' THEN 'gone'
        ELSE d.state END AS state, coalesce(p.code, d.code) AS code, coalesce(p.cause, d.cause) AS cause,
        coalesce(p.attempts, d.attempts) AS attempts, coalesce(p.waiting, 0) AS waiting, d.reason, d.first_at,
        d.last_at
    FROM dead_letters d LEFT JOIN LATERAL (
        SELECT head.code, head.cause, head.attempts, (SELECT count(*) FROM projection_parked w
            WHERE (w.view, w.version, w.topic, w.partition, w.key)
                = (head.view, head.version, head.topic, head.partition, head.key) AND w.role = 'waiting') AS waiting
        FROM projection_parked head
        WHERE d.parked AND head.view = d.consumer AND head.version = d.version AND head.role = 'poison'
            AND head.topic = split_part(d.position, '/', 1)
            AND head.partition = nullif(split_part(d.position, '/', 2), '')::int
            AND head."offset" = nullif(split_part(d.position, '/', 3), '')::bigint
    ) p ON true
"""
"""Letters as they stand now: what is parked is told by the table that the projector keeps, the rest by the log."""

FILTERED = f"""
    SELECT * FROM ({LETTERS}) letters
    WHERE (%(view)s::text IS NULL OR view = %(view)s) AND (%(key)s::text IS NULL OR key = %(key)s)
        AND (%(topic)s::text IS NULL OR split_part(position, '/', 1) = %(topic)s)
        AND (%(code)s::text IS NULL OR code = %(code)s) AND (%(state)s::text IS NULL OR state = %(state)s)
"""

ALL = Question(
    ("dead_letters",),
    {
        "letters": f"""
            SELECT * FROM ({FILTERED}) filtered
            WHERE %(at)s::timestamptz IS NULL OR (last_at, letter_id) < (%(at)s::timestamptz, %(last)s::text)
            ORDER BY last_at DESC, letter_id DESC LIMIT %(rows)s
        """
    },
)
CAUSES = Question(
    ("dead_letters",),
    {
        "causes": rf"""
            SELECT view, code, regexp_replace(cause, '"[^"]*"|''[^'']*''|[0-9]+', '…', 'g') AS cause, state,
                count(*) AS records, count(DISTINCT key) AS keys, min(first_at) AS first_at, max(last_at) AS last_at,
                min(letter_id) AS example
            FROM ({FILTERED}) filtered GROUP BY 1, 2, 3, 4 ORDER BY count(*) DESC, 1, 2, 3, 4 LIMIT 1000
        """
    },
)
ONE = Question(
    ("dead_letters",),
    {
        "letter": f"""
            SELECT letters.*, dead_letters.history FROM ({LETTERS}) letters JOIN dead_letters USING (letter_id)
            WHERE letter_id = %(letter_id)s
        """,
        "behind": """
            SELECT concat_ws('/', w.topic, w.partition, w."offset") AS position
            FROM dead_letters d JOIN projection_parked w ON w.view = d.consumer AND w.version = d.version
                AND w.topic = split_part(d.position, '/', 1) AND w.key = d.key AND w.role = 'waiting'
                AND w.partition = nullif(split_part(d.position, '/', 2), '')::int
            WHERE letter_id = %(letter_id)s AND d.parked ORDER BY w."offset" LIMIT 100
        """,
    },
)
REQUEST = Question(
    ("dead_letter_requests",),
    {"request": "SELECT * FROM dead_letter_requests WHERE request_id = %(request_id)s"},
)

Id = Annotated[str, Path(min_length=1, max_length=64, pattern=NO_NUL)]
View = Annotated[str | None, Query(max_length=128, pattern=NO_NUL, description="of this read model or reader")]
Key = Annotated[str | None, Query(max_length=1024, pattern=NO_NUL, description="of records with this key")]
Code = Annotated[str | None, Query(max_length=100, pattern=NO_NUL, description="with this cause")]
Topic = Annotated[str | None, Query(max_length=100, pattern=NO_NUL, description="of records of this topic")]
States = Annotated[State | None, Query(description="only these")]


def routes(models: ReadModels) -> APIRouter:
    """The routes under /dead-letters."""
    router = APIRouter(route_class=QueryRoute, tags=["dead letters"])
    _add_lists(router, models)
    _add_selection(router, models)
    _add_single(router, models)
    return router


def _add_lists(router: APIRouter, models: ReadModels) -> None:
    @router.get(
        "/dead-letters",
        openapi_extra=open_to("engineer", "auditor"),
        responses=documented(DeadLetters, pages=True),
        summary="Records that a reader could not take, the last one tried first",
    )
    async def letters(
        fresh: Fresh,
        view: View = None,
        topic: Topic = None,
        key: Key = None,
        code: Code = None,
        state: States = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        filters = {"view": view, "topic": topic, "key": key, "code": code, "state": state}
        pages = Pages.of("/dead-letters", **filters)
        at, last = pages.place(cursor, str, str) or (None, None)
        found = await models.ask(ALL, fresh, **filters, at=at, last=last, rows=limit + 1)
        rows, more = page_of(found.rows("letters"), limit, pages, "last_at", "letter_id")
        return paged({"dead_letters": rows, "next": more}, found.position, pages, limit, more)

    @router.get(
        "/dead-letters/causes",
        openapi_extra=open_to("engineer", "auditor"),
        responses=documented(list[Cause]),
        summary="Dead letters by cause, the most frequent first",
    )
    async def causes(
        fresh: Fresh,
        view: View = None,
        topic: Topic = None,
        key: Key = None,
        code: Code = None,
        state: States = None,
    ) -> Response:
        filters = {"view": view, "topic": topic, "key": key, "code": code, "state": state}
        found = await models.ask(CAUSES, fresh, **filters)
        return answer(found.rows("causes"), found.position)


def _add_selection(router: APIRouter, models: ReadModels) -> None:
    @router.get(
        "/dead-letters/selection",
        openapi_extra=open_to("engineer", "auditor"),
        responses=documented(Selected),
        summary="What a request to retry or to skip would be about: how many, by cause and key",
    )
    async def selection(
        view: Annotated[str, Query(min_length=1, max_length=128, pattern=NO_NUL, description="read model")],
        position: Text = None,
        key: Key = None,
        code: Code = None,
        all: Annotated[bool, Query(description="all of the read model")] = False,
    ) -> Response:
        chosen = {"position": position, "key": key, "code": code, "all": all or None}
        return answer(await selected(models, view, chosen), "")

    @router.get(
        "/dead-letters/requests/{request_id}",
        openapi_extra=open_to("engineer", "auditor"),
        responses=documented(RequestOnRecord),
        summary="What was asked of dead letters, and what it led to",
    )
    async def request(request_id: Id, fresh: Fresh) -> Response:
        found = await models.ask(REQUEST, fresh, request_id=request_id)
        document = found.document("request")
        if document is None:
            missing(
                f"request '{request_id}'", "ask with the `event_id` that the request was answered with", found.position
            )
        return answer(document, found.position)


def _add_single(router: APIRouter, models: ReadModels) -> None:
    @router.get(
        "/dead-letters/{letter_id}",
        openapi_extra=open_to("engineer", "auditor"),
        responses=documented(DeadLetterShown),
        summary="A dead letter: the record, why it could not be taken, what waits behind it, what was tried",
    )
    async def letter(letter_id: Id, fresh: Fresh) -> Response:
        found = await models.ask(ONE, fresh, letter_id=letter_id)
        row = found.row("letter")
        if row is None:
            missing(f"dead letter '{letter_id}'", "find it with GET /dead-letters", found.position)
        record: dict[str, Any] | None = await shown(models.settings, row["position"])
        behind = [one["position"] for one in found.rows("behind")]
        return answer({**row, "behind": behind, "record": record}, found.position)
