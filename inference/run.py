"""One training run: from offset ranges to a stored artifact. The same input gives the same bytes."""

import dataclasses
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog

import inference.models
from inference.dataset import Dataset, build
from inference.evaluation import Metrics, cases, evaluate, shares
from inference.interactions import Interactions
from inference.model import Model
from inference.scorer import OnnxScorer
from inference.shelf import keep
from inference.split import by_time
from inference.store import ArtifactStore
from infra.discover import discover
from infra.kafka.records import Decoder
from infra.kafka.replay import Report
from infra.settings import Settings
from schemas.errors import Invalid
from schemas.models import OffsetRange

TEST_SHARE = 0.2
"""Part of the interactions, the latest, that the evaluation predicts."""

PLACES = 20
"""Length of the answers that are evaluated."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Order:
    """What is to be fitted, on what.

    Attributes:
        algorithm: name of a declaration in `inference/models`.
        params: hyper-parameters as text; what is absent takes its default.
        k: items per answer.
        ranges: parts of `interactions` and `profiles`.
    """

    algorithm: str
    params: Mapping[str, str]
    k: int
    ranges: tuple[OffsetRange, ...]


@dataclass(frozen=True)
class Result:
    """What came out of a run.

    Attributes:
        metrics: on the held-out end of the dataset; empty when there was nothing to hold out.
        duration_s: how long it took.
    """

    dataset_sha256: str
    dataset_rows: int
    duplicates: int
    artifact_sha256: str
    artifact_bytes: int
    metrics: Mapping[str, float]
    duration_s: float


async def carry_out(settings: Settings, decoder: Decoder, order: Order, report: Report | None = None) -> Result:
    """Build the dataset, evaluate, fit on all of it, store both.

    Raises:
        Invalid: the algorithm is unknown, a parameter makes no sense, or the ranges hold nothing to learn from.
        Incompatible: an event cannot be read.
        Unavailable: brokers, registry or store do not answer.
    """
    started = time.monotonic()
    model = model_named(order.algorithm)
    params = model.configure(numbers(order.params, model.params))
    dataset = await build(settings, decoder, order.ranges, report)
    log.info("dataset is built", rows=dataset.manifest.rows, sha256=dataset.manifest.sha256)
    artifact = model.train(dataset.interactions, params, order.k)
    log.info("model is fitted", algorithm=model.name, bytes=len(artifact))
    metrics = measured(model, params, dataset.interactions)
    keep(settings, dataset)
    return _result(dataset, ArtifactStore(settings).put(artifact), artifact, metrics, time.monotonic() - started)


def refit(dataset: Dataset, order: Order) -> tuple[str, bytes]:
    """The artifact of an order on a dataset at hand, and its hash; nothing is stored.

    Raises:
        Invalid: as `carry_out`.
    """
    model = model_named(order.algorithm)
    artifact = model.train(dataset.interactions, model.configure(numbers(order.params, model.params)), order.k)
    return hashlib.sha256(artifact).hexdigest(), artifact


def _result(dataset: Dataset, sha256: str, artifact: bytes, metrics: Mapping[str, float], duration_s: float) -> Result:
    manifest = dataset.manifest
    return Result(
        manifest.sha256, manifest.rows, manifest.duplicates, sha256, len(artifact), metrics, round(duration_s, 3)
    )


def model_named(algorithm: str) -> Model[Any, Any]:
    """The declaration of an algorithm.

    Raises:
        Invalid: there is none of that name.
    """
    known: dict[str, Model[Any, Any]] = discover(inference.models, Model)
    found = known.get(algorithm.replace("_", "-"))
    if found is None:
        raise Invalid(f"there is no algorithm '{algorithm}': known are {', '.join(known)}", code="unknown_algorithm")
    return found


def numbers(params: Mapping[str, str], defaults: Any) -> dict[str, Any]:
    """Parameters as the numbers that the model's defaults are; a text that is no number is left for it to refuse."""
    kinds = {field.name: type(getattr(defaults, field.name)) for field in dataclasses.fields(defaults)}
    return {name: _number(text, kinds.get(name, float)) for name, text in params.items()}


def _number(text: str, kind: type[Any]) -> Any:
    try:
        return kind(text)
    except ValueError:
        return text


def measured(model: Model[Any, Any], params: Any, data: Interactions) -> dict[str, float]:
    """Metrics of the same model fitted on the earlier part, asked for what came later.

    `recall@20` and so on over all users, `new.recall@20` over those the earlier part does not know.
    """
    try:
        train, test = by_time(data, TEST_SHARE)
        scorer = OnnxScorer(model.train(train, params, PLACES))
        found = evaluate(scorer, cases(train, test, fold_in=0.5), PLACES, shares(train))
    except Invalid as fault:
        log.warning("nothing to evaluate on", cause=fault.detail)
        return {}
    segments = {f"{name}.": metrics for name, metrics in found.segments.items()}
    return {k: v for name, m in {"": found.overall, **segments}.items() for k, v in _named(name, m).items()}


def _named(prefix: str, metrics: Metrics) -> dict[str, float]:
    values = dataclasses.asdict(metrics)
    return {prefix + (name if name == "users" else f"{name}@{PLACES}"): float(v) for name, v in values.items()}
