"""What the views of training runs and of the registry make of their events, in one batch and one by one."""

from typing import Any

from psycopg import AsyncConnection

from infra.settings import Settings
from projections.testing import Log, minute
from projections.views import (
    model_registry,
    training_runs,
    training_steps,
)
from schemas.models import (
    ModelRegistered,
    ModelRetired,
    OffsetRange,
    TrainingCancelled,
    TrainingDatasetBuilt,
    TrainingEvaluated,
    TrainingFailed,
    TrainingProgressed,
    TrainingQueued,
    TrainingRequested,
    TrainingResourcesUsed,
    TrainingRetried,
    TrainingStarted,
)

from .samples import completed
from .spec import Spec


async def test_training_run_from_request_to_artifact(database: AsyncConnection[Any], settings: Settings) -> None:
    """A run must tell the exact data it read, not the data that was asked for."""
    part = OffsetRange(topic="interactions", partition=0, first=0, end=10)
    row = await Spec(database, settings, training_runs.VIEW).row(
        *Log().of(
            TrainingRequested(model="movies", run_id="r", algorithm="ease", params={"l2": "5"}),
            TrainingStarted(model="movies", run_id="r", ranges=(part,)),
            completed("r"),
        )
    )
    assert row["status"] == "completed"
    assert row["ranges"] == [{"topic": "interactions", "partition": 0, "first": 0, "end": 10}]
    assert (row["algorithm"], row["params"], row["metrics"]) == ("ease", {"l2": "5"}, {"recall": 0.5})
    assert (row["requested_at"], row["updated_at"]) == (minute(0), minute(2))


async def test_training_run_that_failed_says_why(database: AsyncConnection[Any], settings: Settings) -> None:
    """Whoever waits for the run needs the reason."""
    row = await Spec(database, settings, training_runs.VIEW).row(
        *Log().of(
            TrainingRequested(model="movies", run_id="r", algorithm="ease"),
            TrainingFailed(model="movies", run_id="r", reason="no data"),
        )
    )
    assert (row["status"], row["reason"]) == ("failed", "no data")


async def test_training_run_tells_how_far_it_is(database: AsyncConnection[Any], settings: Settings) -> None:
    """A row per run is what people look at while it waits, works and ends, attempt after attempt."""
    run: dict[str, Any] = {"model": "movies", "run_id": "r"}
    part = OffsetRange(topic="interactions", partition=0, first=0, end=10)
    first = (
        TrainingRequested(**run, algorithm="ease"),
        TrainingQueued(**run, attempt=1, ahead=2, reason="2 runs are under way"),
        TrainingStarted(**run, ranges=(part,), slot=1, worker="one/1"),
        TrainingProgressed(**run, step="reading", done=5, total=10, percent=20.0, eta_s=4.0, worker="two/2"),
        TrainingDatasetBuilt(
            **run, dataset_sha256="d", dataset_rows=9, duplicates=1, silent_kinds=("skip",), manifest='{"format": 3}'
        ),
        TrainingEvaluated(**run, metrics={"recall": 0.5}),
        TrainingCancelled(**run, attempt=1, reason="wrong"),
        TrainingResourcesUsed(**run, attempt=1, cpu_s=2.5, wall_s=3.0, peak_memory_bytes=100, bytes_read=50),
    )
    spec = Spec(database, settings, training_runs.VIEW)
    row = await spec.row(*Log().of(*first[:2]))
    assert (row["status"], row["waits_for"], row["attempt"]) == ("queued", "2 runs are under way", 1)
    row = await spec.row(*Log().of(*first))
    assert (row["status"], row["reason"], row["step"], row["percent"]) == ("cancelled", "wrong", "reading", 20.0)
    assert (row["worker"], row["slot"], row["started_at"], row["ended_at"]) == ("two/2", 1, minute(2), minute(6))
    assert (row["dataset_rows"], row["dataset"]["silent_kinds"], row["manifest"]) == (9, ["skip"], {"format": 3})
    assert (row["resources"]["cpu_s"], row["resources"]["bytes_read"]) == (2.5, 50)
    again = TrainingRetried(**run, attempt=2, ranges=(part,))
    row = await spec.row(*Log().of(*first, again))
    assert (row["status"], row["attempt"], row["ranges"][0]["end"]) == ("requested", 2, 10)
    assert (row["reason"], row["step"], row["dataset_rows"], row["metrics"]) == (None, None, None, {})
    row = await spec.row(*Log().of(*first, again, TrainingStarted(**run, ranges=(part,), attempt=2), completed("r")))
    assert (row["status"], row["percent"], row["metrics"]) == ("completed", 100.0, {"recall": 0.5})


async def test_training_steps_tell_the_story(database: AsyncConnection[Any], settings: Settings) -> None:
    """An auditor reads who did what, when, and with which figures."""
    rows = await Spec(database, settings, training_steps.VIEW).rows(
        *Log().of(
            TrainingRequested(model="movies", run_id="r", algorithm="ease"),
            TrainingStarted(model="movies", run_id="r", ranges=(), worker="one/1"),
            TrainingFailed(model="movies", run_id="r", reason="no data", code="empty_dataset"),
            TrainingRetried(model="movies", run_id="r", attempt=2, ranges=()),
        )
    )
    told = [(row["name"], row["attempt"], row["at"]) for row in sorted(rows, key=lambda row: row["offset"])]
    assert told == [
        ("requested", 1, minute(0)),
        ("started", 1, minute(1)),
        ("failed", 1, minute(2)),
        ("retried", 2, minute(3)),
    ]
    assert next(row["details"] for row in rows if row["name"] == "failed")["code"] == "empty_dataset"


async def test_registry_marks_retired_versions(database: AsyncConnection[Any], settings: Settings) -> None:
    """A retired version stays known: decisions made by it must remain explainable."""
    registered = [
        ModelRegistered(
            model="movies",
            version=v,
            run_id=f"r{v}",
            algorithm="ease",
            artifact_sha256=f"a{v}",
            dataset_sha256="d",
            metrics={},
        )
        for v in (1, 2)
    ]
    rows = await Spec(database, settings, model_registry.VIEW).rows(
        *Log().of(*registered, ModelRetired(model="movies", version=1))
    )
    assert {r["version"]: (r["run_id"], r["retired"]) for r in rows} == {1: ("r1", True), 2: ("r2", False)}
