"""What went wrong in the period, in order of time."""

from collections.abc import Iterator
from typing import Any

from inference.report.approved import faults
from inference.report.gather import Material
from inference.report.sequences import Numbered
from inference.report.wording import count, listed, percent, places, when

Json = dict[str, Any]


def incidents(material: Material, stories: list[Json], numbered: list[Numbered]) -> list[Json]:
    """Everything that somebody should have noticed."""
    models = {story["model"] for story in stories}
    found = [
        *_deployments(material, models),
        *_unapproved(material, models),
        *_runs(material, models),
        *(_burst(story["model"], burst, material) for story in stories for burst in story["bursts"]),
        *_letters(material),
        *_gaps(material, numbered),
        *_erasures(material),
    ]
    return sorted(found, key=lambda one: (one["at"] or "", one["kind"], one["text"]))


def _deployments(material: Material, models: set[str]) -> Iterator[Json]:
    since = material.scope.since
    for one in material.rollouts.deployments.values():
        steps = [step for step in one.steps if step.name in ("aborted", "rolled_back")]
        if steps and one.model in models and (since is None or steps[-1].at >= since):
            done = "taken back" if steps[-1].name == "rolled_back" else "given up, and is still to be taken back"
            why = f": {steps[0].reason}" if steps[0].reason else ""
            text = f"The deployment of version {one.version} of {one.model} was {done}{why}"
            places_of = [step.position for step in steps]
            yield _incident(steps[-1].name, steps[0].at.isoformat(), one.model, text, places_of)


def _unapproved(material: Material, models: set[str]) -> Iterator[Json]:
    """What the command side does not let happen; found all the same when something went around it."""
    for one in material.rollouts.promoted(material.scope.since):
        step = one.step("promoted")
        if one.model in models and step is not None and (found := faults(one)):
            text = f"Version {one.version} of {one.model} went live without the approval its policy asks for"
            evidence = [step.position, *(given.position for given in one.approvals)]
            yield _incident("unapproved", step.at.isoformat(), one.model, f"{text}: {listed(found)}", evidence)


def _runs(material: Material, models: set[str]) -> Iterator[Json]:
    since = material.scope.since
    for run in material.registry.runs.values():
        for event in run.events:
            failed = event.name == "TrainingFailed" and (since is None or event.at >= since)
            if failed and run.model in models:
                text = f"A training run of {run.model} ({run.algorithm}) failed: {event.reason}"
                yield _incident("training_failed", event.at.isoformat(), run.model, text, [event.position])


def _burst(model: str, burst: Json, material: Material) -> Json:
    text = (
        f"{count(burst['fallen_back'], 'answer')} of {model} ({percent(burst['fallen_back'], burst['answers'])}) fell "
        f"back for trouble until {when(burst['to'])}: {listed([f'{n} {why}' for why, n in burst['reasons'].items()])}"
    )
    evidence = places(material.scope.during("decisions"))
    return _incident("fallback_burst", burst["from"], model, text, evidence)


def _letters(material: Material) -> Iterator[Json]:
    letters = material.letters.found()
    for (consumer, code), number in sorted(material.letters.counts.items()):
        own = [letter for letter in letters if (letter.consumer, letter.code) == (consumer, code)]
        at = own[0].at.isoformat() if own else None
        text = f"{consumer} could not take {count(number, 'record')} ({code})"
        yield _incident("dead_letters", at, None, text, [letter.position for letter in own])


def _gaps(material: Material, numbered: list[Numbered]) -> Iterator[Json]:
    for one in numbered:
        if one.missing:
            runs = listed([f"{g.first}" if g.count == 1 else f"{g.first}-{g.last}" for g in one.gaps])
            text = f"{count(one.missing, 'answer')} of server {one.server} not on record: number {runs}"
            yield _incident("missing_answers", None, None, text, places(material.scope.during("decisions")))


def _erasures(material: Material) -> Iterator[Json]:
    for one in material.people.erasures():
        if one.done_at is None:
            text = "An erasure was asked for and is not on record as complete"
            yield _incident("erasure_open", one.at.isoformat(), None, text, [one.position])


def _incident(kind: str, at: str | None, model: str | None, text: str, evidence: list[str]) -> Json:
    return {"kind": kind, "at": at, "model": model, "text": text, "evidence": evidence}
