"""The report in a few sentences for whoever reads nothing else."""

from collections.abc import Iterator
from typing import Any

from inference.report.approved import outcome
from inference.report.gather import Material
from inference.report.wording import count, duration, listed, percent, places, when

Json = dict[str, Any]


def summary(material: Material, stories: list[Json], checks: list[Json], incidents: list[Json]) -> list[Json]:
    """Sentences, each with its tone (`plain`, `good`, `attention`) and where it can be looked up."""
    return [
        _answers(material, stories),
        *(_model(material, story) for story in stories),
        *_approvals(material, stories),
        *_shifts(stories, material),
        _people(material),
        _incidents(incidents),
        _checks(checks),
    ]


def _answers(material: Material, stories: list[Json]) -> Json:
    total = sum(story["answers"]["total"] for story in stories)
    by_model = sum(story["answers"]["by_source"].get("model", 0) for story in stories)
    evidence = places(material.scope.during("decisions"))
    if not total:
        return _sentence("plain", "No recommendations were given.", evidence)
    text = (
        f"{count(total, 'recommendation')} {'was' if total == 1 else 'were'} given, "
        f"{percent(by_model, total)} of them made by a model; the others fell back to something simpler."
    )
    return _sentence("plain", text, evidence)


def _model(material: Material, story: Json) -> Json:
    model, serving = story["model"], story["serving"]
    evidence = [place for one in serving for place in one["evidence"]]
    if not serving:
        read = places(material.scope.up_to("deployments"))
        return _sentence("plain", f"No version of {model} was in production.", read)
    last = serving[-1]
    kind = f" ({last['algorithm']})" if last["algorithm"] else ""
    since = when(last["from"])
    time = f"is in production since {since}" if last["to"] is None else f"was in production to {when(last['to'])}"
    text = f"Version {last['version']}{kind} of {model} {time}, asked for by {last['requested_by']}"
    others = [f"version {one['version']}" for one in serving[:-1]]
    return _sentence("plain", text + (f"; before it {listed(others)}." if others else "."), evidence)


def _approvals(material: Material, stories: list[Json]) -> Iterator[Json]:
    """Of what went live in the period: what people approved, and what nobody was asked about."""
    models = {story["model"] for story in stories}
    went_live = [one for one in material.rollouts.promoted(material.scope.since) if one.model in models]
    if not went_live:
        return
    approved = sum(outcome(one) == "approved" for one in went_live)
    against = sum(outcome(one) == "unapproved" for one in went_live)
    free = len(went_live) - approved - against
    parts = [
        *([f"{approved} with the approvals that their policy asks for"] if approved else []),
        *([f"{free} without anybody's approval, as no policy asked for it"] if free else []),
        *([f"{against} AGAINST the policy of their model"] if against else []),
    ]
    text = f"{count(len(went_live), 'version')} went live: {listed(parts)}."
    evidence = [place for one in went_live for place in one.places("promoted")]
    yield _sentence("attention" if against else "plain", text, evidence)


def _shifts(stories: list[Json], material: Material) -> Iterator[Json]:
    found = [(story["model"], one) for story in stories for one in story["shifts"]]
    judged = [pair for pair in found if pair[1]["verdict"] != "too few"]
    marked = [f"{one['what']} of {model}" for model, one in judged if one["verdict"] == "marked"]
    slight = [f"{one['what']} of {model}" for model, one in judged if one["verdict"] == "slight"]
    evidence = places(material.scope.during("decisions"))
    if marked:
        yield _sentence("attention", f"Something has shifted markedly: {listed(marked)}.", evidence)
    if slight:
        yield _sentence("plain", f"Something has shifted slightly: {listed(slight)}.", evidence)
    if judged and not marked and not slight:
        yield _sentence("good", f"Nothing has shifted in any of {count(len(judged), 'comparison')}.", evidence)
    if not judged and found:
        yield _sentence("plain", "There were too few recommendations to tell whether anything has shifted.", evidence)


def _people(material: Material) -> Json:
    people = material.people
    erasures, withdrawals = people.erasures(), people.withdrawals
    evidence = [*(one.position for one in erasures), *(one.position for one in withdrawals)][:20] or places(
        material.scope.during("profiles")
    )
    if not erasures and not withdrawals:
        return _sentence("plain", "Nobody withdrew consent or asked to be erased.", evidence)
    slowest = max((one.took_s for one in erasures if one.took_s is not None), default=None)
    took = "" if slowest is None else f" (the slowest erasure was complete after {duration(slowest)})"
    withdrawn = f"consent was withdrawn {_times(len(withdrawals))}"
    text = f"{count(len(erasures), 'person', 'people')} asked to be erased{took}; {withdrawn}."
    return _sentence("plain", text[0].upper() + text[1:], evidence)


def _times(number: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(number, f"{number:,} times")


def _incidents(incidents: list[Json]) -> Json:
    if not incidents:
        return _sentence("good", "No incidents are on record.", [])
    kinds = sorted({KINDS[one["kind"]] for one in incidents})
    text = f"{count(len(incidents), 'incident')} on record: {listed(kinds)}."
    return _sentence("attention", text, [place for one in incidents for place in one["evidence"][:1]])


KINDS = {
    "rolled_back": "a deployment taken back",
    "aborted": "a deployment given up",
    "unapproved": "a version that went live without the approvals wanted",
    "training_failed": "a failed training run",
    "fallback_burst": "a burst of fallbacks",
    "dead_letters": "records that could not be taken",
    "missing_answers": "answers that are not on record",
    "erasure_open": "an erasure that is not complete",
}
"""Kinds of incident, in words."""


def _checks(checks: list[Json]) -> Json:
    failed = [one["text"] for one in checks if not one["passed"]]
    if not failed:
        return _sentence("good", f"All {len(checks)} checks against the log passed.", [])
    return _sentence("attention", f"{count(len(failed), 'check')} of {len(checks)} did not pass: {listed(failed)}.", [])


def _sentence(tone: str, text: str, evidence: list[str]) -> Json:
    return {"tone": tone, "text": text, "evidence": evidence}
