"""Runs from before datasets were put on record: lineage answers what it can, and says that it is not exact."""

from typing import Any

from aiokafka import AIOKafkaProducer
from psycopg import AsyncConnection

from infra.kafka.connect import aiokafka_options
from infra.kafka.facts import FactWriter
from infra.kafka.ranges import ranges_now
from infra.kafka.records import Decoder
from infra.settings import Settings
from schemas.models import (
    ModelRegistered,
    OffsetRange,
    TrainingCompleted,
    TrainingDatasetBuilt,
    TrainingRequested,
    TrainingStarted,
)

from .conftest import Get
from .running import StartProjector
from .telling import Decided, append, folded, viewed


async def fitted(log: Decided, run: str, version: int, ranges: tuple[OffsetRange, ...], *, recorded: bool) -> None:
    """A run from its request to the version; the older ones said nothing of their dataset on the way."""
    about: dict[str, Any] = {"model": "movies", "run_id": run}
    dataset: dict[str, Any] = {"dataset_sha256": "d", "dataset_rows": 3, "duplicates": 0}
    built = [TrainingDatasetBuilt(**about, **dataset, erasures=ranges)] if recorded else []
    artifact: dict[str, Any] = {"artifact_sha256": f"a{version}", "metrics": {"recall": 0.4}}
    for event in (
        TrainingRequested(**about, algorithm="ease"),
        TrainingStarted(**about, ranges=ranges),
        *built,
        TrainingCompleted(**about, **dataset, **artifact, artifact_bytes=5, duration_s=1.0),
        ModelRegistered(**about, version=version, algorithm="ease", dataset_sha256="d", **artifact),
    ):
        await log.append(event)


async def test_a_run_without_a_recorded_dataset_is_answered_as_not_exact(
    settings: Settings,
    decoder: Decoder,
    database: AsyncConnection,
    writer: FactWriter,
    projector: StartProjector,
    get: Get,
) -> None:
    """Its erasures and silent kinds are not known: `saw` is as far as the ranges tell, and nobody is to rely on it."""
    await append(writer, viewed("ana", "i1", 1), viewed("ana", "i2", 2), viewed("bob", "i1", 3))
    ranges = tuple(await ranges_now(settings, ["interactions", "profiles"]))
    async with AIOKafkaProducer(**aiokafka_options(settings.kafka)) as producer:
        log = Decided(settings, decoder, producer)
        await fitted(log, "older", 1, ranges, recorded=False)
        await fitted(log, "newer", 2, ranges, recorded=True)
    await folded(settings, database, projector())
    part = next(part for part in ranges if part.topic == "interactions" and part.end)
    span = {"first": part.first, "end": part.end}
    for path, asked, rows in (
        ("/lineage/users/ana", {}, 2),
        ("/lineage/items/i1", {}, 2),
        ("/lineage/users/nobody", {}, 0),
        (f"/lineage/ranges/interactions/{part.partition}", span, part.end),
        (f"/lineage/ranges/profiles/{part.partition}", {"first": 0, "end": 0}, 0),
    ):
        status, found, _ = await get(path, **asked)
        older, newer = found["versions"]
        assert (status, older["version"], newer["version"]) == (200, 1, 2), path
        assert (older["saw"], older["rows"], older["exact"]) == (rows > 0, rows, False), path
        assert older["doubt"].startswith("the run is older than the record of how datasets are built"), path
        assert (newer["rows"], newer["exact"], newer["doubt"]) == (rows, True, None), path
