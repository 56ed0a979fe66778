"""Training runs as OpenLineage run events: what reads the log of a run, and what each of its steps is called there.

An attempt is a run of its own in OpenLineage, where a run that has failed stays so. Inputs are the topics with the
exact offset ranges, the output is the artifact. What OpenLineage has no facet for stands in facets of ours, whose JSON
schemas the query API serves.

Source: OpenLineage specification 2-0-2, and its naming of datasets.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid5

from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    dataset_version_dataset,
    error_message_run,
    input_statistics_input_dataset,
    job_type_job,
    output_statistics_output_dataset,
    processing_engine_run,
)
from openlineage.client.serde import Serde

from inference.datasets.dataset import INTERACTIONS
from inference.lineage.attempts import NO_ATTEMPTS, Attempt, evolve
from inference.training.runs import Run as TrainingRun
from infra.kafka.ranges import ranges_now
from infra.kafka.replay import recorded
from infra.kafka.topics import physical
from infra.registry.enlist import open_decoder
from infra.settings import Settings
from schemas.envelope import Meta
from schemas.models import ModelRegistered, OffsetRange, TrainingCancelled, TrainingFailed, TrainingStarted

VERSION = "0.1.0"
PRODUCER = f"urn:retrace:producer:{VERSION}"
NAMESPACE = UUID("a6e0c9b2-8a5b-5d0c-9f37-3f1d9d2b7c14")
RANGES_FACET, TRAINING_FACET, ARTIFACT_FACET = "retrace_offsetRanges", "retrace_training", "retrace_artifact"
FACETS: Mapping[str, str] = {
    RANGES_FACET: "OffsetRangesInputDatasetFacet",
    TRAINING_FACET: "TrainingRunFacet",
    ARTIFACT_FACET: "ArtifactOutputDatasetFacet",
}
"""Our own facets, and the names of their schemas."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Names:
    """What things are called, from the settings.

    Attributes:
        job_namespace: of the jobs.
        kafka: namespace of the topics.
        prefix: of the topics on the brokers.
        store: URL of the artifact store.
        facets_url: where the schemas of our own facets are.
    """

    job_namespace: str
    kafka: str
    prefix: str
    store: str
    facets_url: str


def names_of(settings: Settings) -> Names:
    """As this installation calls them."""
    options = settings.openlineage
    return Names(
        job_namespace=options.namespace,
        kafka=f"kafka://{settings.kafka.bootstrap.split(',')[0].strip()}",
        prefix=physical(settings, ""),
        store=settings.artifact_url.rstrip("/"),
        facets_url=(options.facets_url or f"{settings.queries.url}/lineage/facets").rstrip("/"),
    )


def lineage_run_id(model: str, run_id: str, attempt: int) -> str:
    """A run's id there, which has to be a UUID: our own where it is one, for the first attempt."""
    try:
        if attempt == 1:
            return str(UUID(run_id))
    except ValueError:
        pass
    return str(uuid5(NAMESPACE, f"{model}/{run_id}/{attempt}"))


def told(names: Names, attempt: Attempt, event: Any, meta: Meta) -> Json | None:
    """The run event that an event of the log is; None when it is none.

    Args:
        attempt: as it stands after the event.
    """
    teller = _Teller(names, attempt, meta.time)
    match event:
        case TrainingStarted():
            return teller.event(RunState.START)
        case ModelRegistered():
            return teller.event(RunState.COMPLETE, outputs=[teller.artifact(event)])
        case TrainingFailed(reason=reason):
            return teller.event(RunState.FAIL, reason=reason)
        case TrainingCancelled(reason=reason):
            return teller.event(RunState.ABORT, reason=reason)
        case _:
            return None


def schema_url(base: str, facet: str) -> str:
    """Where the schema of one of our facets is."""
    return f"{base}/{facet}.json#/$defs/{facet}"


class _Teller:
    """Says what an attempt is in the words of OpenLineage."""

    def __init__(self, names: Names, attempt: Attempt, at: datetime) -> None:
        self._names = names
        self._attempt = attempt
        self._at = at

    def event(self, state: RunState, *, outputs: Sequence[OutputDataset] = (), reason: str = "") -> Json:
        requested = self._attempt.requested
        job_type = job_type_job.JobTypeJobFacet(
            processingType="BATCH", integration="RETRACE", jobType="TRAINING", producer=PRODUCER
        )
        event = RunEvent(
            eventType=state,
            eventTime=self._at.isoformat(),
            run=Run(lineage_run_id(requested.model, requested.run_id, self._attempt.number), self._run_facets(reason)),
            job=Job(self._names.job_namespace, f"train.{requested.model}", facets={"jobType": job_type}),
            inputs=list(self._inputs()),
            outputs=list(outputs),
            producer=PRODUCER,
        )
        return Serde.to_dict(event)

    def artifact(self, registered: ModelRegistered) -> OutputDataset:
        sha256 = registered.artifact_sha256
        namespace, name = _place(f"{self._names.store}/{sha256[:2]}/{sha256}.onnx")
        completed = self._attempt.completed
        size = None if completed is None else completed.artifact_bytes
        version = dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=sha256, producer=PRODUCER)
        statistics = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
            size=size, fileCount=1, producer=PRODUCER
        )
        said = {
            "model": registered.model,
            "version": registered.version,
            "algorithm": registered.algorithm,
            "sha256": sha256,
        }
        facets: Any = {"outputStatistics": statistics, ARTIFACT_FACET: self._own(ARTIFACT_FACET, said)}
        return OutputDataset(namespace, name, facets={"version": version}, outputFacets=facets)

    def _inputs(self) -> Iterable[InputDataset]:
        ordered = sorted(self._attempt.ranges, key=lambda part: (part.topic, part.partition, part.first))
        for topic, parts in groupby(ordered, key=lambda part: part.topic):
            yield self._input(topic, list(parts))

    def _input(self, topic: str, parts: Sequence[OffsetRange]) -> InputDataset:
        ranges = [{"partition": part.partition, "first": part.first, "end": part.end} for part in parts]
        facets: Any = {RANGES_FACET: self._own(RANGES_FACET, {"ranges": ranges})}
        dataset, used = self._attempt.dataset, self._attempt.used
        if topic == INTERACTIONS and dataset is not None:
            facets["inputStatistics"] = input_statistics_input_dataset.InputStatisticsInputDatasetFacet(
                rowCount=dataset.dataset_rows, size=used.bytes_read if used else None, producer=PRODUCER
            )
        return InputDataset(self._names.kafka, self._names.prefix + topic, inputFacets=facets)

    def _run_facets(self, reason: str) -> Any:
        engine = processing_engine_run.ProcessingEngineRunFacet(version=VERSION, name="Retrace", producer=PRODUCER)
        facets: Json = {"processing_engine": engine, TRAINING_FACET: self._own(TRAINING_FACET, self._training())}
        if reason:
            facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(
                message=reason, programmingLanguage="PYTHON", producer=PRODUCER
            )
        return facets

    def _training(self) -> Json:
        requested, dataset, used = self._attempt.requested, self._attempt.dataset, self._attempt.used
        completed = self._attempt.completed
        facts: Json = {
            "model": requested.model,
            "runId": requested.run_id,
            "attempt": self._attempt.number,
            "algorithm": requested.algorithm,
            "params": dict(requested.params),
            "k": requested.k,
            "worker": self._attempt.worker or None,
            "datasetSha256": dataset.dataset_sha256 if dataset else None,
            "datasetRows": dataset.dataset_rows if dataset else None,
            "metrics": dict(completed.metrics) if completed else None,
            "cpuSeconds": used.cpu_s if used else None,
            "peakMemoryBytes": used.peak_memory_bytes if used else None,
            "gpu": used.gpu if used else None,
        }
        return {name: value for name, value in facts.items() if value is not None}

    def _own(self, name: str, said: Json) -> Json:
        return {"_producer": PRODUCER, "_schemaURL": schema_url(self._names.facets_url, FACETS[name]), **said}


def _place(url: str) -> tuple[str, str]:
    """Namespace and name of a file, as OpenLineage names them: a bucket is a namespace, and so is `file`."""
    parts = urlsplit(url)
    return (f"{parts.scheme}://{parts.netloc}" if parts.netloc else parts.scheme), parts.path


async def events_of(settings: Settings, run: TrainingRun) -> list[Json]:
    """A run's events so far, read from the log.

    Raises:
        Incompatible: an event cannot be read.
        Unavailable: the log cannot be read.
    """
    decoder, names = await open_decoder(settings), names_of(settings)
    attempts, found = NO_ATTEMPTS, []
    ranges = await ranges_now(settings, ["models"])
    async for one in recorded(settings, decoder, ranges, keys=[run.model]):
        if getattr(one.event, "run_id", None) == run.run_id:
            attempts = evolve(attempts, one.event, one.meta)
            event = told(names, attempts[run.key], one.event, one.meta)
            found += [event] if event is not None else []
    return found


def as_json(event: Json) -> str:
    """One event in one line."""
    return Serde.to_json(event)
