"""The audit report: everything that the log says about a period or a model, as one document of plain values.

The same positions give the same document, whenever and wherever it is made.
"""

from typing import Any

from inference.report.checks import checks
from inference.report.gather import Material, Reading, gather
from inference.report.incidents import incidents
from inference.report.scope import Scope, as_fields
from inference.report.story import story
from inference.report.summary import summary
from inference.report.wording import when
from infra.kafka.records import Decoder
from infra.kafka.replay import Report
from infra.settings import Settings
from schemas.errors import NotFound

FORMAT = 1
"""Of the document; raised when a field changes its meaning or goes."""

MOST_LISTED = 200

Json = dict[str, Any]


async def report(
    settings: Settings, decoder: Decoder, scope: Scope, model: str | None = None, progress: Report | None = None
) -> Json:
    """The report about a period, or about one model in it.

    Raises:
        NotFound: there is no such model.
        Invalid: part of the period is no longer in the log.
        Incompatible: an event cannot be read.
        Unavailable: brokers or registry do not answer.
    """
    material = await gather(Reading(settings, decoder, scope, progress), model)
    return document(material, model)


def document(material: Material, model: str | None = None) -> Json:
    """What was gathered, put into words and figures.

    Raises:
        NotFound: there is no such model.
    """
    known = material.models()
    if model is not None and model not in {*material.rollouts.models(), *material.registry.models()}:
        raise NotFound(no_model(model, known), code="unknown_model")
    models = [model] if model is not None else known
    stories = [story(material, name) for name in models]
    since = material.scope.since
    numbered = material.answers.sequences.found(material.scope.until.timestamp(), from_start=since is None)
    checked = checks(material, models, numbered)
    went_wrong = incidents(material, stories, numbered)
    return {
        "format": FORMAT,
        "kind": "period" if model is None else "model",
        "title": _title(material.scope, model),
        "asked": {"model": model},
        "speaks_for": as_fields(material.scope),
        "summary": summary(material, stories, checked, went_wrong),
        "checks": checked,
        "models": stories,
        "people": _people(material),
        "interactions": _interactions(material),
        "servers": [_server(one) for one in numbered],
        "repeated_records": material.answers.repeated,
        "incidents": went_wrong[:MOST_LISTED],
        "incidents_total": len(went_wrong),
    }


def no_model(model: str, known: list[str]) -> str:
    """What is said of a model that nobody has heard of."""
    if not known:
        return f"there is no model '{model}': none has been trained yet, see `retrace train`"
    return f"there is no model '{model}': there are {', '.join(known)}"


def _title(scope: Scope, model: str | None) -> str:
    since = "the start" if scope.since is None else when(scope.since)
    return f"{'Audit report' if model is None else f'Audit report on {model}'}, from {since} to {when(scope.until)} UTC"


def _people(material: Material) -> Json:
    people = material.people
    erasures = people.erasures()
    return {
        "registered": people.registered,
        "consents": [
            {"purpose": purpose, "given": given, "count": number}
            for (purpose, given), number in sorted(people.said.items())
        ],
        "refusing": {purpose: len(people.refusing(purpose)) for purpose in ("personalisation", "training")},
        "withdrawals": [
            {"purpose": word.purpose, "at": word.at.isoformat(), "evidence": [word.position]}
            for word in sorted(people.withdrawals, key=lambda word: (word.at, word.position))[:MOST_LISTED]
        ],
        "erasures": [
            {
                "at": one.at.isoformat(),
                "reason": one.reason,
                "complete": None if one.done_at is None else one.done_at.isoformat(),
                "took_s": one.took_s,
                "keys": one.keys,
                "removed": dict(one.removed),
                "evidence": [place for place in (one.position, one.done) if place],
            }
            for one in erasures[:MOST_LISTED]
        ],
        "erasures_total": len(erasures),
        "withdrawals_total": len(people.withdrawals),
    }


def _interactions(material: Material) -> Json:
    activity = material.activity
    return {"total": activity.kinds.total(), "by_kind": dict(sorted(activity.kinds.items()))}


def _server(one: Any) -> Json:
    return {
        "server": one.server,
        "first": one.first,
        "last": one.last,
        "recorded": one.recorded,
        "missing": one.missing,
        "open": one.open,
        "gaps": [{"first": gap.first, "last": gap.last} for gap in one.gaps],
    }
