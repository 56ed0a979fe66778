"""What the routes share: parameters, answers, problems."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, TypeAlias

import orjson
from fastapi import Depends, Path, Query, Response
from pydantic import BaseModel

from projections.answers import freshness
from projections.readmodels import Freshness
from schemas.errors import Invalid

Fresh: TypeAlias = Annotated[Freshness, Depends(freshness)]
Id: TypeAlias = Annotated[str, Path(min_length=1, max_length=128, pattern="^[^\\x00]*$")]
Limit: TypeAlias = Annotated[int, Query(ge=1, le=1000, description="how many at most")]
Before: TypeAlias = Annotated[
    str | None,
    Query(alias="before", max_length=64, description="go on from here: `next` of the page before, or a time"),
]
Text: TypeAlias = Annotated[str | None, Query(min_length=1, max_length=200, pattern="^[^\\x00]*$")]

LARGEST = 2**63 - 1


def documented(model: type[BaseModel] | Any) -> dict[int | str, dict[str, Any]]:
    """The answers of a route, for its OpenAPI document."""
    problem: dict[str, Any] = {"content": {"application/problem+json": {}}}
    return {
        200: {
            "model": model,
            "headers": {
                "x-position": {"description": "the last positions this answer has seen", "schema": {"type": "string"}}
            },
        },
        401: {"description": "no key was sent, or it does not open", **problem},
        403: {"description": "the key has no role that this takes, or is of another tenant", **problem},
        404: {"description": "no such thing", **problem},
        422: {"description": "the request makes no sense", **problem},
        503: {"description": "a store is away", **problem},
        504: {"description": "`min-position` was not reached in time", **problem},
    }


def answer(content: Any, position: str) -> Response:
    """A JSON answer that says what it speaks for."""
    body = orjson.dumps(content, option=orjson.OPT_NON_STR_KEYS)
    return Response(body, media_type="application/json", headers={"x-position": position})


def cursor(at: datetime, offset: int) -> str:
    """Where a page ends that is ordered by time and offset."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}~{offset}"


def before(text: str | None) -> tuple[datetime, int]:
    """Read a cursor; a bare time means everything before it.

    Raises:
        Invalid: it has another form.
    """
    if text is None:
        return datetime.max.replace(tzinfo=UTC), LARGEST
    at, _, offset = text.partition("~")
    try:
        moment = datetime.fromisoformat(at)
        number = int(offset) if offset else -1
    except ValueError as fault:
        raise Invalid(
            f"'{text}' is no place to go on from: give `next` of an answer, or a time such as 2026-01-31T00:00:00Z",
            code="bad_cursor",
        ) from fault
    if number > LARGEST:
        raise Invalid(f"'{text}' is no place to go on from: give `next` of an answer", code="bad_cursor")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)), number


def without(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """A row without some columns."""
    return {name: value for name, value in row.items() if name not in names}
