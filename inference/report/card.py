"""The model card of a version: what it is for, what it learnt from, how good it is, where it falls short.

Limits are computed, not claimed: from what it was trained on, and from what it answered.

Source: Mitchell et al. 2019, Model cards for model reporting.
"""

import asyncio
import inspect
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import fsspec

import inference.models
from inference.artifact import read_metadata
from inference.model import Model
from inference.report.activity import Activity
from inference.report.figures import Figures
from inference.report.gather import Material, Reading
from inference.report.report import FORMAT, no_model
from inference.report.rollouts import during
from inference.report.scope import Scope, as_fields
from inference.report.story import answers_fields, deployment_fields, serving_fields, version_fields
from inference.report.versions import Version
from inference.report.wording import count, percent, places, when
from inference.store import ArtifactStore
from infra.discover import discover
from infra.kafka.records import Decoder
from infra.kafka.replay import Report
from infra.settings import Settings
from schemas.errors import Incompatible, NotFound, Unavailable

HEAD_SHARE = 0.1
"""The most popular items, of which the share in answers is told."""

INTENDED = (
    "Ranks the items of the catalogue for one person, from the items this person has met. It is asked for every "
    "recommendation; items already met, retired ones and categories the person hides are taken out afterwards."
)
NOT_INTENDED = (
    "It does not predict ratings or prices, explains nothing about why somebody likes something, and must not be used "
    "to infer traits of a person. Scores order items for one person; they do not compare between people or versions."
)

PLAIN = {
    "popularity": "Recommends what most people chose lately, the same to everybody, less what they have met.",
    "item-to-item": "Recommends items that were chosen together with, or right after, the items a person has met.",
    "ease": "Learns for each pair of items how much having met one speaks for the other, and adds this up over what a "
    "person has met.",
}

Json = dict[str, Any]


async def card(
    settings: Settings, decoder: Decoder, scope: Scope, model: str, version: int, progress: Report | None = None
) -> Json:
    """The model card of a version, as the log knew it at the end of the scope.

    Raises:
        NotFound: there is no such model or version.
        Invalid, Incompatible, Unavailable: as `infra.kafka.replay`.
    """
    reading = Reading(settings, decoder, scope, progress)
    rollouts, registry = await reading.rollouts(), await reading.registry()
    found = registry.versions.get((model, version))
    if found is None:
        raise unknown_version(model, version, [one.version for one in registry.of(model)], registry.models())
    people, catalogue = await reading.people(), await reading.catalogue()
    answers = await reading.answers(people, catalogue, model)
    activity = await reading.activity({model: found.run.ranges}, people=True)
    letters = await reading.letters()
    material = Material(scope, rollouts, registry, people, catalogue, answers, activity, letters)
    params = await asyncio.to_thread(params_of, settings, found.artifact_sha256)
    return document(material, found, manifest_of(settings, found), params)


def unknown_version(model: str, version: int, known: list[int], models: list[str]) -> NotFound:
    """What is said of a version that was never registered."""
    if model not in models:
        return NotFound(no_model(model, models), code="unknown_model")
    there = f"it has {', '.join(map(str, known))}" if known else "none has been registered yet"
    return NotFound(f"{model} has no version {version}: {there}", code="unknown_version")


def manifest_of(settings: Settings, version: Version) -> Json | None:
    """What its dataset says of itself: on the log, or for older runs beside the stored rows; None when neither has it.

    Raises:
        Unavailable: the store cannot be read.
    """
    built = version.run.dataset
    if built is not None and built.manifest:
        told: Json = json.loads(built.manifest)
        return told
    dataset_sha256 = version.dataset_sha256
    url = f"{settings.artifact_url.rstrip('/')}/datasets/{dataset_sha256}/manifest.json"
    fs, path = fsspec.core.url_to_fs(url)
    try:
        found: Json = json.loads(fs.cat_file(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as fault:
        raise Unavailable(f"the manifest of dataset {dataset_sha256} at {url} cannot be read: {fault}") from fault
    return found


def params_of(settings: Settings, artifact_sha256: str) -> Json | None:
    """Every hyper-parameter as the artifact itself has it; None when it is not in the store, or was changed there.

    Raises:
        Unavailable: the store cannot be read.
    """
    try:
        return dict(read_metadata(ArtifactStore(settings).get(artifact_sha256)).params)
    except (NotFound, Incompatible):
        return None


def document(material: Material, version: Version, manifest: Json | None, params: Json | None) -> Json:
    """What was gathered, as a card."""
    scope, model = material.scope, version.model
    servings = [one for one in material.rollouts.servings(model) if one.version == version.version]
    deployments = [one for one in material.rollouts.of(model) if one.version == version.version]
    figures = Figures(material.answers, model)
    answers = answers_fields(figures, material)
    own = next((one for one in answers["by_version"] if one["version"] == version.version), None)
    about = version_fields(material, model, version.version)
    limits = _limits(material, version, about, own)
    return {
        "format": FORMAT,
        "kind": "model-card",
        "title": f"Model card: {model}, version {version.version}",
        "asked": {"model": model, "version": version.version},
        "speaks_for": as_fields(scope),
        "summary": _summary(material, version, about, limits),
        "intended_use": INTENDED,
        "not_intended_use": NOT_INTENDED,
        "algorithm": {"name": version.algorithm, "text": _plain(version.algorithm), "params": _params(version, params)},
        "version": about,
        "training": _training(material.activity, version, manifest),
        "limits": limits,
        "serving": [serving_fields(material, one) for one in servings],
        "serves": any(one in during(servings, scope.until, scope.until) or one.until is None for one in servings),
        "deployments": [deployment_fields(one) for one in deployments],
        "answers": own,
        "reproduce": f"retrace train --from-run {version.run.run_id} --verify",
    }


def _plain(algorithm: str) -> str:
    """What the algorithm does; the first paragraph of its module when nobody has put it plainly."""
    if algorithm in PLAIN:
        return PLAIN[algorithm]
    declared = discover(inference.models, Model).get(algorithm)
    module = inspect.getmodule(declared.fit) if declared else None
    text = inspect.getdoc(module) if module else None
    return " ".join((text or "An algorithm that this installation does not have any more.").split("\n\n")[0].split())


def _params(version: Version, params: Json | None) -> Json:
    """Hyper-parameters as the artifact has them; as they were asked for when it is gone."""
    return {"k": version.run.k, **dict(sorted((params or version.run.params).items()))}


def _training(activity: Activity, version: Version, manifest: Json | None) -> Json:
    ranges = version.run.ranges
    told = ("users", "items", "withdrawn_users", "withdrawn", "erased_users", "erased", "silent", "duplicates")
    items = activity.trained[version.model]
    return {
        "interactions_read": items.total(),
        "people_read": len(activity.users[version.model]),
        "items_read": len(items),
        "consent_position": places(part for part in ranges if part.topic == "profiles"),
        "erasure_position": places_of(manifest.get("erasures", ())) if manifest else [],
        "manifest": {name: manifest[name] for name in told if name in manifest} if manifest else None,
    }


def places_of(fields: Any) -> list[str]:
    """Ranges of a manifest as evidence."""
    return [f"{f['topic']}/{f['partition']}/{f['first']}..{f['end']}" for f in fields if f["end"] > f["first"]]


def _limits(material: Material, version: Version, about: Json, own: Json | None) -> list[Json]:
    """What the data say about where it falls short."""
    trained = material.activity.trained[version.model]
    shown = material.answers.items.get((version.model, version.version), Counter())
    offered = [name for name, item in material.catalogue.items.items() if not item.retired]
    return [
        *_popularity(trained, shown),
        *_coverage(shown, own, offered),
        *_newcomers(about),
        *_unknown_items(trained, offered),
    ]


def _popularity(trained: Mapping[str, int], shown: Mapping[str, int]) -> list[Json]:
    head = head_of(trained)
    learnt, total = sum(trained[item] for item in head), sum(trained.values())
    if not total:
        return []
    text = f"The most popular tenth of the items had {percent(learnt, total)} of the interactions it was trained on"
    figures: Json = {"trained_share": learnt / total, "shown_share": None, "amplification": None}
    if given := sum(shown.values()):
        part = sum(shown.get(item, 0) for item in head)
        figures |= {"shown_share": part / given, "amplification": (part / given) / (learnt / total)}
        more = "more" if part / given > learnt / total else "less"
        text += f", and {percent(part, given)} of the places in its answers: it leans on them {more} than people do"
    return [_limit("popularity_bias", text + ".", figures)]


def head_of(counts: Mapping[str, int]) -> list[str]:
    """The most popular tenth of the items, at least one; equal ones by id."""
    ranked = sorted(counts, key=lambda item: (-counts[item], item))
    return ranked[: max(1, math.ceil(len(ranked) * HEAD_SHARE))]


def _coverage(shown: Mapping[str, int], own: Json | None, offered: Sequence[str]) -> list[Json]:
    if not shown or not own or not offered:
        return []
    known = sum(name in shown for name in offered)
    text = (
        f"It has shown {known:,} of {len(offered):,} items on offer ({percent(known, len(offered))}) in "
        f"{count(own['answers'], 'answer')}" + ("; the others nobody saw through it." if known < len(offered) else ".")
    )
    return [_limit("coverage", text, {"items": known, "on_offer": len(offered), "answers": own["answers"]})]


def _newcomers(about: Json) -> list[Json]:
    found = {row["measure"]: row["values"] for row in about["metrics"]}
    values = next((values for name, values in sorted(found.items()) if name.startswith("ndcg")), None)
    if not values or values["new"] is None or values["returning"] is None:
        text = (
            "How well it serves new people beside returning ones was not measured: the test part held too few of one."
        )
        return [_limit("new_people", text, {})]
    worse = values["new"] < values["returning"]
    text = (
        f"For people it had never seen in training its ranking scores {values['new']:.4f} (NDCG), for returning people "
        f"{values['returning']:.4f}: new people are served {'worse' if worse else 'no worse'}."
    )
    return [_limit("new_people", text, {"new": values["new"], "returning": values["returning"]})]


def _unknown_items(trained: Mapping[str, int], offered: Sequence[str]) -> list[Json]:
    """Items on offer that nobody had met when it was trained: it cannot recommend them."""
    unknown = [name for name in offered if name not in trained]
    if not unknown:
        return []
    text = (
        f"{count(len(unknown), 'item')} of {len(offered):,} on offer had no interaction in its training data "
        f"({percent(len(unknown), len(offered))}): it cannot recommend them until it is trained again."
    )
    return [_limit("unknown_items", text, {"items": len(unknown), "on_offer": len(offered)})]


def _limit(name: str, text: str, figures: Json) -> Json:
    return {
        "name": name,
        "text": text,
        "figures": {k: round(v, 6) if isinstance(v, float) else v for k, v in figures.items()},
    }


def _summary(material: Material, version: Version, about: Json, limits: list[Json]) -> list[Json]:
    run = about["run"]
    rows = f" on {count(run['rows'], 'interaction')}" if run["rows"] is not None else ""
    serving = [one for one in material.rollouts.servings(version.model) if one.version == version.version]
    asked = next((event for event in run["events"] if event["event"] == "TrainingRequested"), None)
    by = f", asked for by {asked['by']}" if asked else ""
    return [
        _sentence(
            f"Trained with {version.algorithm}{rows}{by}.", [place for e in run["events"] for place in e["evidence"]]
        ),
        _sentence(
            f"In production since {when(serving[-1].since)} UTC."
            if serving and serving[-1].until is None
            else f"In production until {when(serving[-1].until)} UTC."
            if serving
            else "Never in production until then.",
            [one.position for one in serving],
        ),
        *(_sentence(one["text"], []) for one in limits[:1]),
    ]


def _sentence(text: str, evidence: list[str]) -> Json:
    return {"tone": "plain", "text": text, "evidence": evidence}
