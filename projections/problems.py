"""Problem documents of the query API: their form, and one example of each, for its OpenAPI document."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field

from infra.http import PROBLEM_BASE


class FieldFault(BaseModel):
    """What is wrong with one parameter."""

    pointer: str = Field(description="RFC 6901")
    detail: str


class PositionBehind(BaseModel):
    """How far one partition is behind a position that was asked for."""

    wanted: str
    missing: int = Field(description="records between what was folded and what was wanted")
    topic: str | None = None
    partition: int | None = None
    next_offset: int | None = None
    events: int | None = Field(None, description="records between what was folded and the end of the log")
    seconds: float | None = Field(None, description="age of the oldest of them")


class Problem(BaseModel):
    """RFC 9457. Programs read `code`, people `detail`."""

    type: str
    title: str
    status: int = Field(ge=400, le=599)
    detail: str
    instance: str | None = None
    code: str = Field(pattern="^[a-z_]+$")
    errors: list[FieldFault] | None = None
    position: str | None = Field(None, description="how far was looked")
    behind: list[PositionBehind] | None = None


PROBLEMS: Mapping[int, tuple[str, str]] = {
    401: ("key_missing", "no key was sent: send Authorization: Bearer KEY"),
    403: ("role_missing", "this takes the role auditor, and shop has product"),
    404: ("not_found", "there is no user '42' here; register with POST /users, or ask with `min-position`"),
    410: ("erased_user", "user '42' has been erased for good: a person who comes back takes another id"),
    422: ("unknown_parameter", "'limt' is no parameter of GET /items: did you mean 'limit'? known are cursor, limit"),
    503: ("unavailable", "PostgreSQL does not answer: connection refused; is it running?"),
    504: (
        "position_not_reached",
        "user_profile not at the position you asked for within 2 s: 3 records behind profiles/3/118",
    ),
}


def problem_example(status: int) -> dict[str, Any]:
    """A problem document of this status."""
    code, detail = PROBLEMS[status]
    return {
        "type": PROBLEM_BASE + code.replace("_", "-"),
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": detail,
        "code": code,
    }
