"""Asking an index of Elasticsearch, with its faults in our words."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from elasticsearch import NotFoundError

from infra.elastic import index_name
from projections.faults import translated
from projections.readmodels import NotMade, ReadModels
from schemas.errors import Problem, Unavailable

Found: TypeAlias = Mapping[str, Any]

NOT_FOUND = 404
TOO_BUSY = 429


async def searched(models: ReadModels, view: str, *bodies: Mapping[str, Any]) -> list[Found]:
    """What each of these searches finds; they go there together.

    Raises:
        Unavailable: Elasticsearch is away or busy, or the index has not been made yet.
    """
    searches = [line for body in bodies for line in ({}, body)]
    try:
        with translated(view):
            answer = await models.elastic.msearch(index=index_name(models.settings, view), searches=searches)
    except Problem as fault:
        if isinstance(fault.__cause__, NotFoundError):
            raise NotMade from fault
        raise
    return _checked(answer["responses"])


def _checked(answers: Sequence[Found]) -> list[Found]:
    for answer in answers:
        if "error" in answer:
            raise _problem(answer)
    return list(answers)


def _problem(answer: Found) -> Problem:
    if answer["status"] == NOT_FOUND:
        return NotMade()
    causes = answer["error"].get("root_cause") or [answer["error"]]
    reason = f"Elasticsearch cannot search: {causes[0].get('reason', 'no reason given')}"
    return Unavailable(reason) if answer["status"] >= TOO_BUSY else Problem(reason)
