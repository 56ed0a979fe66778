"""What a report holds against the log itself, each with a plain yes or no."""

from typing import Any

from inference.report.answers import Breach
from inference.report.approved import faults
from inference.report.gather import Material
from inference.report.rollouts import during
from inference.report.sequences import Numbered
from inference.report.wording import count, places

Json = dict[str, Any]


def checks(material: Material, models: list[str], numbered: list[Numbered]) -> list[Json]:
    """Every check, passed or not."""
    answers, scope = material.answers, material.scope
    return [
        _completeness(material, numbered),
        _breach(
            "erased_left_alone",
            "Nobody was given recommendations more than a minute after their erasure",
            "given to people more than a minute after their erasure",
            answers.to_erased,
            places(scope.during("decisions")),
        ),
        _breach(
            "consent_respected",
            "No answer used the history of somebody more than a minute after they withdrew consent to personalisation",
            "made from the history of people who had withdrawn consent to personalisation",
            answers.without_consent,
            places(scope.during("decisions")),
        ),
        _erasures(material),
        _artifacts(material, models),
        _approvals(material, models),
    ]


def _completeness(material: Material, numbered: list[Numbered]) -> Json:
    missing = sum(one.missing for one in numbered)
    waiting = sum(one.open for one in numbered)
    on_record = count(sum(one.recorded for one in numbered), "answer")
    servers = count(len(numbered), "server start")
    text = (
        f"{count(missing, 'number')} missing among those of {servers}: answers were given that are not on record"
        if missing
        else f"{on_record} of {servers} on record without a gap in their numbers"
    )
    if waiting:
        text += f"; {waiting} of the last minute may still be on their way"
    return _check("answers_on_record", not missing, text, places(material.scope.during("decisions")))


def _breach(name: str, good: str, bad: str, breach: Breach, read: list[str]) -> Json:
    if not breach.count:
        return _check(name, True, good, read)
    return _check(name, False, f"{count(breach.count, 'answer')} {bad}", list(breach.positions))


def _erasures(material: Material) -> Json:
    erasures = material.people.erasures()
    waiting = [one.position for one in erasures if one.done_at is None]
    if waiting:
        text = f"{count(len(waiting), 'erasure')} of {len(erasures)} not on record as complete"
        return _check("erasures_complete", False, text, waiting)
    text = f"Every erasure asked for is on record as complete ({len(erasures)})"
    return _check("erasures_complete", True, text, [one.done for one in erasures] or places(_profiles(material)))


def _profiles(material: Material) -> Any:
    return material.scope.during("profiles")


def _artifacts(material: Material, models: list[str]) -> Json:
    """Whether what served is what was registered, byte for byte by its hash; deployments and answers both say it."""
    scope, registry = material.scope, material.registry
    wrong: list[str] = []
    for model in models:
        for one in during(material.rollouts.servings(model), scope.since, scope.until):
            version = registry.versions.get((model, one.version))
            if version is None or version.artifact_sha256 != one.artifact_sha256:
                wrong.append(one.position)
    strangers = sum(
        number
        for (dimension, model, version, artifact), number in material.answers.tally.totals().items()
        if dimension == "artifact" and artifact is not None
        if not _is_registered(material, model, version, artifact)
    )
    if wrong or strangers:
        who = f"{count(len(wrong), 'deployment')} and {count(strangers, 'answer')}"
        text = f"{who} name an artifact that is not the registered one"
        return _check("artifacts_registered", False, text, wrong)
    text = "Every version that served, and every answer of one, names the artifact that was registered"
    return _check("artifacts_registered", True, text, places(scope.up_to("models")))


def _approvals(material: Material, models: list[str]) -> Json:
    """Whether what went live was approved as the policy of its model asks; counted again, whatever the events say."""
    went_live = [one for one in material.rollouts.promoted(material.scope.since) if one.model in models]
    wrong = [one for one in went_live if faults(one)]
    if wrong:
        text = f"{count(len(wrong), 'version')} of {len(went_live)} went live against the approval policy of its model"
        return _check("approvals_as_policy", False, text, [place for one in wrong for place in one.places("promoted")])
    asked = [one for one in went_live if one.wanted]
    text = (
        f"Every version that went live had the approvals that the policy of its model asks for "
        f"({len(asked)} approved, {len(went_live) - len(asked)} that needed no approval)"
    )
    return _check("approvals_as_policy", True, text, places(material.scope.up_to("deployments")))


def _is_registered(material: Material, model: Any, version: Any, artifact: Any) -> bool:
    found = material.registry.versions.get((model, version))
    return found is not None and found.artifact_sha256 == artifact


def _check(name: str, passed: bool, text: str, evidence: list[str]) -> Json:
    return {"name": name, "passed": passed, "text": text, "evidence": evidence}
