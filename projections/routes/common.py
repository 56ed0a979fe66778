"""What the routes share: parameters, answers, problems, pages."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypeAlias
from urllib.parse import quote, urlencode

import orjson
from fastapi import Depends, Header, Path, Query, Response
from pydantic import BaseModel, BeforeValidator

from infra.http import PROBLEM_JSON
from projections.examples import example_of
from projections.freshness import Freshness, Moment, positions_in
from projections.problems import problem_example
from projections.routes.cursor import Pages
from schemas.errors import Invalid

NO_NUL = r"^[^\x00]*$"
POSITIONS = r"^[a-z-]+/\d{1,18}/\d{1,18}( *, *[a-z-]+/\d{1,18}/\d{1,18})*$"

Id: TypeAlias = Annotated[str, Path(min_length=1, max_length=128, pattern=NO_NUL)]
Limit: TypeAlias = Annotated[int, Query(ge=1, le=1000, description="how many at most")]
Text: TypeAlias = Annotated[str | None, Query(min_length=1, max_length=200, pattern=NO_NUL)]


def _moment(value: Any) -> datetime:
    """A time in ISO 8601 with its offset from UTC; the framework would take seconds since 1970 as well.

    Raises:
        ValueError: it is something else.
    """
    moment = datetime.fromisoformat(str(value))
    if moment.tzinfo is None:
        raise ValueError("a time needs its offset from UTC: end it with Z, or with %2B02:00")
    return moment


Time: TypeAlias = Annotated[datetime, BeforeValidator(_moment)]
Before: TypeAlias = Annotated[Time | None, Query(description="only what is older than this time")]


def freshness(
    min_position: Annotated[
        list[str] | None,
        Query(
            alias="min-position",
            description="`topic/partition/offset` as an answer gave it, repeatable or with commas: wait for it",
            examples=["profiles/3/118"],
        ),
    ] = None,
    wait: Annotated[float, Query(ge=0, le=30, description="seconds to wait for `min-position`")] = 2,
    x_min_position: Annotated[str | None, Header(description="as `min-position`")] = None,
) -> Freshness:
    """What the request insists on.

    Raises:
        Invalid: a position has another form, or there are too many.
    """
    if min_position is None and x_min_position is None:
        return LIVE
    return Freshness(positions_in([*(min_position or ()), *([x_min_position] if x_min_position else ())]), wait)


LIVE = Freshness()

Fresh: TypeAlias = Annotated[Freshness, Depends(freshness)]


def exactly(
    fresh: Fresh,
    as_of: Annotated[
        list[str] | None,
        Query(
            alias="as-of",
            description="answer from the log as it was: a time with its offset from UTC, or a position; of several "
            "partitions one position each. The log is read, so it takes longer than a live answer",
            examples=["2026-11-21T10:00:00Z"],
        ),
    ] = None,
    exact: Annotated[bool, Query(description="answer from the log as it ends now, not from the read models")] = False,
) -> Freshness:
    """What the request insists on, of queries that the log itself can answer.

    Raises:
        Invalid: it insists on two moments at once, or `as-of` is neither a time nor a position.
    """
    if as_of is None:
        return Freshness(fresh.positions, fresh.wait_s, exact=True) if exact else fresh
    if exact or fresh.positions:
        other = "exact" if exact else "min-position"
        raise Invalid(f"as-of and {other} speak of two moments: give one of them", code="two_moments")
    return Freshness(as_of=moment_in(as_of))


Exactly: TypeAlias = Annotated[Freshness, Depends(exactly)]


def moment_in(texts: Sequence[str]) -> Moment:
    """The moment that a client means.

    Raises:
        Invalid: it is neither a time nor a position, or several times.
    """
    if any("/" in text for text in texts):
        return positions_in(texts)
    try:
        (text,) = texts
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise Invalid(
        f"'{texts[0][:60]}' is no moment: give a time with its offset from UTC, such as 2026-01-31T12:00:00Z "
        "(in a URL + is written %2B), or a position such as profiles/3/118",
        code="bad_moment",
        errors=[{"pointer": "/as-of", "detail": "is neither a time nor a position"}],
    )


def documented(
    model: type[BaseModel] | Any, *, pages: bool = False, person: bool = False
) -> dict[int | str, dict[str, Any]]:
    """The answers of a route, for its OpenAPI document.

    Args:
        pages: whether there may be a next page.
        person: whether it is about a person, who may have been erased.
    """
    link = {"link": _header('the next page: `<...>; rel="next"`; absent on the last')} if pages else {}
    gone: dict[int | str, str] = {410: "The person has been erased."} if person else {}
    answered: dict[str, Any] = {
        "model": model,
        "description": "What is known.",
        "headers": {
            "x-position": _header("the last positions this answer has seen", "profiles/3/118"),
            "etag": _header("of the content; send it as If-None-Match", '"1b6453892473a467d07372d4"'),
            **link,
        },
        "content": {"application/json": {"example": example_of(model)}},
    }
    return {
        200: answered,
        304: {"description": "You have it already: If-None-Match names its ETag."},
        **{status: {"description": text, **problem_of(status)} for status, text in (PROBLEMS | gone).items()},
    }


PROBLEMS: dict[int | str, str] = {
    401: "No key was sent, or it does not open.",
    403: "The key has no role that this takes, or is of another tenant.",
    404: "There is no such thing.",
    422: "The request makes no sense; `errors` names each parameter.",
    503: "A store is away.",
    504: "`min-position` was not reached in time; `behind` says how far it is.",
}


def problem_of(status: int | str) -> dict[str, Any]:
    """The content of an answer that is a problem document, for an OpenAPI document."""
    shape = {"$ref": "#/components/schemas/Problem"}
    return {"content": {PROBLEM_JSON: {"schema": shape, "example": problem_example(int(status))}}}


def _header(text: str, example: str | None = None) -> dict[str, Any]:
    return {"description": text, "schema": {"type": "string"}, **({"example": example} if example else {})}


def answer(content: Any, position: str) -> Response:
    """A JSON answer that says what it speaks for.

    Args:
        content: JSON as bytes, or what can be written as JSON.
    """
    body = content if type(content) is bytes else orjson.dumps(content, option=orjson.OPT_NON_STR_KEYS)
    return Response(body, media_type="application/json", headers={"x-position": position})


def page_of(
    rows: Sequence[dict[str, Any]], limit: int, pages: Pages, *order: str
) -> tuple[Sequence[dict[str, Any]], str | None]:
    """The rows of a page, and the cursor for the next one.

    Args:
        rows: one more than the page holds, when there are so many.
        order: columns that the rows are sorted by.
    """
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], pages.after(*(rows[limit - 1][name] for name in order))


def paged(content: Any, position: str, pages: Pages, limit: int, more: str | None) -> Response:
    """An answer that names its next page.

    Source: RFC 8288.
    """
    response = answer(content, position)
    if more is not None:
        asked = urlencode(
            [*((name, _text(value)) for name, value in pages.filters), ("limit", limit), ("cursor", more)]
        )
        response.headers["link"] = f'<{quote(pages.query)}?{asked}>; rel="next"'
    return response


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value).lower() if isinstance(value, bool) else str(value)


def without(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """A row without some columns."""
    return {name: value for name, value in row.items() if name not in names}
