"""What a report tells of one model: what served when, by whose wish, from which data, and how it did."""

from collections.abc import Iterable
from typing import Any

from inference.report.approved import approval_fields, policy_fields
from inference.report.drift import shift
from inference.report.figures import Figures, shift_fields
from inference.report.gather import Material
from inference.report.rollouts import Deployment, Serving, during
from inference.report.versions import Event, Run, Version
from schemas.models import OffsetRange

Json = dict[str, Any]

SEGMENTS = ("all", "new", "returning")


def story(material: Material, model: str) -> Json:
    """Everything about one model in the period."""
    scope = material.scope
    figures = Figures(material.answers, model)
    servings = during(material.rollouts.servings(model), scope.since, scope.until)
    deployments = [one for one in material.rollouts.of(model) if _is_during(one, material)]
    shown = {one.version for one in servings} | {one.version for one in deployments}
    return {
        "model": model,
        "serving": [serving_fields(material, one) for one in servings],
        "deployments": [deployment_fields(one) for one in deployments],
        "policies": [policy_fields(one) for one in material.rollouts.policies.get(model, ())],
        "versions": [version_fields(material, model, number) for number in sorted(shown)],
        "runs": [run_fields(run) for run in material.registry.runs.values() if _ran(run, model, material)],
        "answers": answers_fields(figures, material),
        "shifts": [*figures.shifts(), *_interests(material, model)],
        "bursts": figures.bursts(),
    }


def answers_fields(figures: Figures, material: Material) -> Json:
    """Volumes, latency and fallbacks."""
    return {
        "total": figures.total,
        "by_source": figures.counts("source"),
        "by_reason": figures.counts("reason"),
        "by_version": figures.versions(material.catalogue.on_offer),
        "newcomers": figures.newcomers(),
        "latency_ms": figures.latency(),
        "course": figures.course(),
    }


def serving_fields(material: Material, one: Serving) -> Json:
    """A time in production: of what, and by whose wish."""
    deployment = material.rollouts.deployments[one.model, one.deployment_id]
    promoted = deployment.step("promoted")
    version = material.registry.versions.get((one.model, one.version))
    return {
        "version": one.version,
        "algorithm": version.algorithm if version else None,
        "from": one.since.isoformat(),
        "to": one.until.isoformat() if one.until and one.until <= material.scope.until else None,
        "artifact_sha256": one.artifact_sha256,
        "deployment_id": one.deployment_id,
        "requested_by": deployment.requested_by,
        "promoted_by": promoted.by if promoted else None,
        "evidence": [one.position],
    }


def _is_during(one: Deployment, material: Material) -> bool:
    since = material.scope.since
    return since is None or any(step.at >= since for step in one.steps)


def _ran(run: Run, model: str, material: Material) -> bool:
    since = material.scope.since
    return run.model == model and (since is None or any(event.at >= since for event in run.events))


def deployment_fields(one: Deployment) -> Json:
    """A deployment with all of its steps."""
    return {
        "deployment_id": one.deployment_id,
        "version": one.version,
        "replaced": one.replaced,
        "artifact_sha256": one.artifact_sha256,
        "requested_by": one.requested_by,
        "state": one.state,
        "approval": approval_fields(one),
        "steps": [
            {
                "step": step.name,
                "at": step.at.isoformat(),
                "by": step.by,
                "reason": step.reason,
                "found": dict(sorted(step.evidence.items())),
                "evidence": [step.position],
            }
            for step in one.steps
        ],
    }


def version_fields(material: Material, model: str, number: int) -> Json:
    """A version: where it comes from, and its metrics beside those of the version it replaced."""
    version = material.registry.versions.get((model, number))
    if version is None:
        return {"version": number, "registered": None}
    before = replaced_by(material, version)
    return {
        "version": number,
        "algorithm": version.algorithm,
        "artifact_sha256": version.artifact_sha256,
        "registered": event_fields(version.registered),
        "retired": None if version.retired is None else event_fields(version.retired),
        "events": [event_fields(event) for event in version.events],
        "run": run_fields(version.run),
        "replaced": None if before is None else before.version,
        "metrics": metrics_table(version.metrics, {} if before is None else before.metrics),
    }


def replaced_by(material: Material, version: Version) -> Version | None:
    """The version in whose place this one came first."""
    for one in material.rollouts.of(version.model):
        if one.version == version.version and one.step("promoted") and one.replaced is not None:
            return material.registry.versions.get((version.model, one.replaced))
    return None


def metrics_table(metrics: Any, before: Any) -> list[Json]:
    """One row for each measure, a value for each segment, and what the version before had."""
    measures = sorted({name.partition(".")[0] for name in metrics})
    return [
        {
            "measure": measure,
            "values": {s: metrics.get(measure if s == "all" else f"{measure}.{s}") for s in SEGMENTS},
            "before": {s: before.get(measure if s == "all" else f"{measure}.{s}") for s in SEGMENTS},
        }
        for measure in measures
    ]


def run_fields(run: Run) -> Json:
    """A training run: what went in, and what came out."""
    done = run.completed
    return {
        "run_id": run.run_id,
        "algorithm": run.algorithm,
        "params": dict(sorted(run.params.items())),
        "k": run.k,
        "state": run.state,
        "reason": run.reason,
        "ranges": ranges_fields(run.ranges),
        "dataset_sha256": done.dataset_sha256 if done else None,
        "rows": done.dataset_rows if done else None,
        "duplicates": done.duplicates if done else None,
        "duration_s": round(done.duration_s, 3) if done else None,
        "resources": _resources(run),
        "events": [event_fields(event) for event in run.events],
    }


def _resources(run: Run) -> Json | None:
    if run.used is None:
        return None
    return {
        "worker": run.used.worker,
        "cpu_s": round(run.used.cpu_s, 3),
        "peak_memory_bytes": run.used.peak_memory_bytes,
        "bytes_read": run.used.bytes_read,
        "gpu": run.used.gpu,
    }


def event_fields(event: Event) -> Json:
    """Something that happened to a run or version."""
    return {
        "event": event.name,
        "at": event.at.isoformat(),
        "by": event.by,
        "reason": event.reason,
        "evidence": [event.position],
    }


def ranges_fields(ranges: Iterable[OffsetRange]) -> list[Json]:
    """Offset ranges."""
    return [{"topic": r.topic, "partition": r.partition, "first": r.first, "end": r.end} for r in ranges]


def _interests(material: Material, model: str) -> list[Json]:
    """What people did since the version that serves was trained, beside what it was trained on."""
    activity, catalogue = material.activity, material.catalogue
    if model not in activity.trained:
        return []
    trained = catalogue.by_category(activity.trained[model])
    since = catalogue.by_category(activity.since[model])
    found = shift(trained, since)
    return [shift_fields("interests", "categories people chose, since training beside training data", found)]
