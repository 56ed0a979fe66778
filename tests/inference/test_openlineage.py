"""Training runs as OpenLineage events: their form, their order, and that a receiver gets each of them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import jsonschema_rs
import pytest
from aiohttp import web
from openlineage.client import event_v2, facet_v2

from inference.follower import Follower
from inference.lineage.attempts import NO_ATTEMPTS, evolve
from inference.lineage.emitter import Emitter, Receiver, emit
from inference.lineage.events import Names, lineage_run_id, names_of, told
from infra.ending import ended
from infra.health import Health
from infra.registry.enlist import open_decoder
from infra.settings import OpenLineageSettings, Settings
from schemas.envelope import Meta
from schemas.errors import Invalid
from schemas.models import (
    CancelTraining,
    ModelRegistered,
    OffsetRange,
    RequestTraining,
    StartTraining,
    TrainingCancelled,
    TrainingCompleted,
    TrainingDatasetBuilt,
    TrainingFailed,
    TrainingRequested,
    TrainingResourcesUsed,
    TrainingRetried,
    TrainingStarted,
)
from schemas.openlineage import FACETS

from ..eventually import eventually
from .town import free_port, open_town

SHA = "ab" * 32
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
NAMES = Names("retrace", "kafka://broker:9092", "p.", "s3://bucket/artifacts", "https://example.org/lineage/facets")
RUN: dict[str, Any] = {"model": "movies", "run_id": "r1"}
PARTS = (
    OffsetRange(topic="profiles", partition=1, first=0, end=4),
    OffsetRange(topic="interactions", partition=1, first=5, end=9),
    OffsetRange(topic="interactions", partition=0, first=0, end=7),
)
DONE: dict[str, Any] = {"dataset_sha256": SHA, "dataset_rows": 9, "duplicates": 1}
BEGUN = (TrainingRequested(**RUN, algorithm="ease", params={"l2": "5"}), TrainingStarted(**RUN, ranges=PARTS))
COMPLETE = (
    *BEGUN,
    TrainingDatasetBuilt(**RUN, **DONE),
    TrainingResourcesUsed(**RUN, cpu_s=2.0, wall_s=3.0, peak_memory_bytes=100, bytes_read=50),
    TrainingCompleted(**RUN, **DONE, artifact_sha256=SHA, artifact_bytes=77, metrics={"ndcg@10": 0.3}, duration_s=3.0),
    ModelRegistered(
        **RUN, version=4, algorithm="ease", artifact_sha256=SHA, dataset_sha256=SHA, metrics={"ndcg@10": 0.3}
    ),
)
OFFICIAL = {
    "jobType": facet_v2.job_type_job.JobTypeJobFacet,
    "processing_engine": facet_v2.processing_engine_run.ProcessingEngineRunFacet,
    "errorMessage": facet_v2.error_message_run.ErrorMessageRunFacet,
    "inputStatistics": facet_v2.input_statistics_input_dataset.InputStatisticsInputDatasetFacet,
    "outputStatistics": facet_v2.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet,
    "version": facet_v2.dataset_version_dataset.DatasetVersionDatasetFacet,
}


URI = {"type": "string", "format": "uri"}
NAMED: dict[str, Any] = {
    "required": ["namespace", "name"],
    "properties": {"namespace": {"type": "string"}, "name": {"type": "string"}},
}
FACET_MAP: dict[str, Any] = {
    "additionalProperties": {
        "type": "object",
        "required": ["_producer", "_schemaURL"],
        "properties": {"_producer": URI, "_schemaURL": URI},
    }
}
DATASETS: dict[str, Any] = {
    "type": "array",
    "items": NAMED
    | {"properties": NAMED["properties"] | {"facets": FACET_MAP, "inputFacets": FACET_MAP, "outputFacets": FACET_MAP}},
}
DEMANDED: dict[str, Any] = {
    "type": "object",
    "required": ["eventTime", "producer", "schemaURL", "run", "job"],
    "properties": {
        "eventType": {"enum": ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]},
        "eventTime": {"type": "string", "format": "date-time"},
        "producer": URI,
        "schemaURL": URI,
        "run": {
            "required": ["runId"],
            "properties": {"runId": {"type": "string", "format": "uuid"}, "facets": FACET_MAP},
        },
        "job": NAMED | {"properties": NAMED["properties"] | {"facets": FACET_MAP}},
        "inputs": DATASETS,
        "outputs": DATASETS,
    },
}
"""What the specification (2-0-2) demands of a run event, in words of ours: no package holds its schema as a file."""


def events(*log: Any) -> list[dict[str, Any]]:
    """What is told of these events of the log."""
    attempts, found = NO_ATTEMPTS, []
    for minute, event in enumerate(log):
        at = NOON + timedelta(minutes=minute)
        meta = Meta(id=uuid4(), type=event.AVRO, source="test", subject="movies", time=at)
        attempts = evolve(attempts, event, meta)
        said = told(NAMES, attempts["movies", "r1"], event, meta)
        found += [] if said is None else [json.loads(json.dumps(said))]
    return found


def check(event: dict[str, Any]) -> None:
    """The event is one by OpenLineage's own classes, which are made from its schema; our facets are by our schemas."""
    jsonschema_rs.validate(DEMANDED, event, validate_formats=True)
    facets = [event["run"]["facets"], event["job"]["facets"]]
    for dataset in event["inputs"] + event["outputs"]:
        facets += [dataset.get(name, {}) for name in ("facets", "inputFacets", "outputFacets")]
    for name, facet in (pair for held in facets for pair in held.items()):
        assert urlsplit(facet["_producer"]).scheme
        url = urlsplit(facet["_schemaURL"])
        assert url.scheme
        if name in OFFICIAL:
            said = {key: value for key, value in facet.items() if not key.startswith("_")}
            assert OFFICIAL[name](**said)._schemaURL == facet["_schemaURL"]
        else:
            schema = json.loads(FACETS[Path(url.path).name])
            assert url.fragment == f"/$defs/{Path(url.path).stem}"
            jsonschema_rs.validate(schema["$defs"][Path(url.path).stem] | {"$schema": schema["$schema"]}, facet)
            jsonschema_rs.validate(schema, {name: facet})
    again = event_v2.RunEvent(
        eventType=event_v2.RunState[event["eventType"]],
        eventTime=event["eventTime"],
        producer=event["producer"],
        run=event_v2.Run(event["run"]["runId"]),
        job=event_v2.Job(event["job"]["namespace"], event["job"]["name"]),
        inputs=[event_v2.InputDataset(one["namespace"], one["name"]) for one in event["inputs"]],
        outputs=[event_v2.OutputDataset(one["namespace"], one["name"]) for one in event["outputs"]],
    )
    assert again.schemaURL == event["schemaURL"]
    assert set(event) == {"eventType", "eventTime", "run", "job", "inputs", "outputs", "producer", "schemaURL"}


def test_a_run_that_completes() -> None:
    """Inputs name the exact offsets, the output the artifact and the version that it is."""
    start, complete = events(*COMPLETE)
    check(start)
    check(complete)
    assert (start["eventType"], complete["eventType"]) == ("START", "COMPLETE")
    assert start["run"]["runId"] == complete["run"]["runId"]
    assert (complete["job"]["namespace"], complete["job"]["name"]) == ("retrace", "train.movies")
    interactions, profiles = complete["inputs"]
    assert (interactions["namespace"], interactions["name"]) == ("kafka://broker:9092", "p.interactions")
    assert profiles["name"] == "p.profiles"
    assert interactions["inputFacets"]["retrace_offsetRanges"]["ranges"] == [
        {"partition": 0, "first": 0, "end": 7},
        {"partition": 1, "first": 5, "end": 9},
    ]
    (artifact,) = complete["outputs"]
    assert (artifact["namespace"], artifact["name"]) == ("s3://bucket", f"/artifacts/ab/{SHA}.onnx")
    assert artifact["outputFacets"]["retrace_artifact"]["version"] == 4
    training = complete["run"]["facets"]["retrace_training"]
    assert (training["datasetRows"], training["metrics"], training["cpuSeconds"]) == (9, {"ndcg@10": 0.3}, 2.0)


def test_what_the_specification_demands_is_asked_for() -> None:
    """A check that lets everything pass shows nothing: each demand, broken by itself, is noticed."""
    _, complete = events(*COMPLETE)
    for path, value in (
        (("eventTime",), "noon"),
        (("eventType",), "DONE"),
        (("producer",), "us"),
        (("run", "runId"), "r1"),
        (("run", "facets", "retrace_training", "_schemaURL"), None),
        (("inputs", 0, "namespace"), 1),
        (("outputs", 0, "outputFacets", "retrace_artifact", "_producer"), "us"),
    ):
        broken = held = json.loads(json.dumps(complete))
        for name in path[:-1]:
            held = held[name]
        held[path[-1]] = value
        with pytest.raises(jsonschema_rs.ValidationError):
            jsonschema_rs.validate(DEMANDED, broken, validate_formats=True)


def test_runs_that_do_not() -> None:
    """A failure tells its reason, a cancellation is an abort; the next attempt is a run of its own."""
    _, failed = events(*BEGUN, TrainingFailed(**RUN, reason="no data"))
    assert (failed["eventType"], failed["run"]["facets"]["errorMessage"]["message"]) == ("FAIL", "no data")
    check(failed)
    cancelled = TrainingCancelled(**RUN, attempt=1, reason="wrong")
    again = (TrainingRetried(**RUN, attempt=2, ranges=PARTS), TrainingStarted(**RUN, ranges=PARTS, attempt=2))
    first, aborted, second = events(*BEGUN, cancelled, *again)
    assert [one["eventType"] for one in (first, aborted, second)] == ["START", "ABORT", "START"]
    assert first["run"]["runId"] == aborted["run"]["runId"] != second["run"]["runId"]
    check(aborted)
    assert second["run"]["facets"]["retrace_training"]["runId"] == "r1"


def test_ids_of_runs() -> None:
    """OpenLineage takes UUIDs; ours stay what they are where they can."""
    own = str(uuid4())
    assert lineage_run_id("movies", own, 1) == own
    assert len({lineage_run_id("movies", own, 1), lineage_run_id("movies", own, 2), lineage_run_id("m", "r", 1)}) == 3


def test_the_names_of_an_installation(tmp_path: Path) -> None:
    """A file store is the namespace `file`; the facets' schemas are at the query API unless told otherwise."""
    settings = Settings(data_dir=tmp_path, topic_prefix="p.")
    _, complete = [], told_of(names_of(settings))
    (artifact,) = complete["outputs"]
    assert (artifact["namespace"], artifact["name"].startswith(str(tmp_path))) == ("file", True)
    assert complete["run"]["facets"]["retrace_training"]["_schemaURL"].startswith(settings.queries.url)


def told_of(names: Names) -> dict[str, Any]:
    attempts: Any = NO_ATTEMPTS
    said: Any = None
    for event in COMPLETE:
        meta = Meta(id=uuid4(), type=event.AVRO, source="test", subject="movies", time=NOON)
        attempts = evolve(attempts, event, meta)
        said = told(names, attempts["movies", "r1"], event, meta)
    return dict(said)


class Keeper:
    """A small receiver: takes events, and answers as it is told to."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.answers: list[int] = []
        self.url = f"http://127.0.0.1:{free_port()}/api/v1/lineage"

    async def take(self, request: web.Request) -> web.Response:
        self.keys.add(request.headers.get("authorization", ""))
        status = self.answers.pop(0) if self.answers else 201
        if status < 300:
            self.events.append(await request.json())
        return web.Response(status=status, text="as told")

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_post("/api/v1/lineage", self.take)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", urlsplit(self.url).port).start()
        try:
            yield
        finally:
            await runner.cleanup()


async def test_a_receiver_that_is_away_gets_it_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lineage with holes is worse than none; what a receiver will never take is told and does not hold up others."""
    monkeypatch.setattr("inference.lineage.emitter.RETRY_S", 0.01)
    keeper, health = Keeper(), Health("trainer")
    keeper.answers = [503, 429]
    options = OpenLineageSettings.model_validate(
        {"url": keeper.url, "file": tmp_path / "lineage.ndjson", "api_key": "secret"}
    )
    start, complete = events(*COMPLETE)
    async with Receiver(options) as receiver:
        emitter = Emitter(Settings(), receiver, health)
        telling = asyncio.create_task(emitter._tell(start))

        async def failed() -> bool:
            return bool(health.components)

        await eventually(failed)
        assert "does not answer" in health.components["openlineage"].cause
        async with keeper.open():
            await telling
            await emitter._tell(complete)
            assert keeper.events == [start, complete]
            assert keeper.keys == {"Bearer secret"}
            keeper.answers = [422]
            with pytest.raises(Invalid, match="refuses an event with 422"):
                await receiver.take(start)
            keeper.answers = [422]
            await emitter._tell(start)
    assert not health.components["openlineage"].ok
    assert health.ready is False or not health.components["openlineage"].vital
    lines = (tmp_path / "lineage.ndjson").read_text().splitlines()
    assert json.loads(lines[-1]) == start


async def test_every_run_is_told_over_restarts(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """An emitter that begins again goes on where the last one was, and a receiver hears of each state."""
    keeper, committed = Keeper(), [0]

    class Noted(Follower):
        async def commit(self) -> None:
            number = len(keeper.events)
            await super().commit()
            committed.append(number)

    monkeypatch.setattr("inference.lineage.emitter.Follower", Noted)
    receiver = OpenLineageSettings(url=keeper.url)
    async with open_town(settings, openlineage=receiver) as town, keeper.open():
        decoder = await open_decoder(town.settings)

        async def emitted(number: int) -> None:
            task = asyncio.create_task(emit(town.settings, decoder, Health("trainer")))

            async def dealt_with() -> bool:
                return committed[-1] >= number

            await eventually(dealt_with, 60)
            await ended(task)

        await town.register(SHA)
        await emitted(2)
        run_id = str(uuid4())
        named: Any = {"model": town.model}
        await town.send(RequestTraining(**named, run_id=run_id, algorithm="ease"))
        await town.send(StartTraining(**named, run_id=run_id, ranges=PARTS))
        await town.send(CancelTraining(**named, run_id=run_id, reason="wrong"))
        await emitted(4)
        assert [event["eventType"] for event in keeper.events] == ["START", "COMPLETE", "START", "ABORT"]
        for event in keeper.events:
            check(event)
        assert keeper.events[2]["run"]["runId"] == run_id
