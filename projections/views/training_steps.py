"""Every step of every training run, one row each: the story of a run, for people and for lineage."""

from projections.view import View
from schemas.models import (
    ModelRegistered,
    TrainingCancelled,
    TrainingCompleted,
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

DETAILS = (
    "algorithm",
    "params",
    "k",
    "ranges",
    "worker",
    "slot",
    "ahead",
    "reason",
    "code",
    "step",
    "done",
    "total",
    "percent",
    "eta_s",
    "elapsed_s",
    "dataset_sha256",
    "dataset_rows",
    "duplicates",
    "silent",
    "withdrawn",
    "erased",
    "metrics",
    "cpu_s",
    "wall_s",
    "peak_memory_bytes",
    "bytes_read",
    "gpu",
    "artifact_sha256",
    "artifact_bytes",
    "duration_s",
    "version",
)
"""What an event says beside which run it is about; an event has some of it."""

VIEW = View(
    name="training_steps",
    version=1,
    reads=(
        TrainingRequested,
        TrainingQueued,
        TrainingStarted,
        TrainingDatasetBuilt,
        TrainingProgressed,
        TrainingEvaluated,
        TrainingResourcesUsed,
        TrainingCompleted,
        TrainingFailed,
        TrainingCancelled,
        TrainingRetried,
        ModelRegistered,
    ),
    table="""
        model text NOT NULL, run_id text NOT NULL, attempt int, name text NOT NULL, at timestamptz NOT NULL,
        actor text, correlation_id text, event_id uuid NOT NULL, details jsonb NOT NULL, partition int NOT NULL,
        "offset" bigint NOT NULL, PRIMARY KEY (partition, "offset")
    """,
    batch="""
        event text, model text, run_id text, attempt int, algorithm text, params jsonb, k int, ranges jsonb,
        worker text, slot int, ahead int, reason text, code text, step text, done bigint, total bigint,
        percent float8, eta_s float8, elapsed_s float8, dataset_sha256 text, dataset_rows bigint, duplicates bigint,
        silent bigint, withdrawn bigint, erased bigint, metrics jsonb, cpu_s float8, wall_s float8,
        peak_memory_bytes bigint, bytes_read bigint, gpu text, artifact_sha256 text, artifact_bytes bigint,
        duration_s float8, version int, time timestamptz, actor text, correlation_id text, event_id uuid,
        partition int, "offset" bigint
    """,
    apply=f"""
        INSERT INTO {{table}}
        SELECT model, run_id, CASE event WHEN 'TrainingRequested' THEN 1 ELSE attempt END,
            CASE event WHEN 'ModelRegistered' THEN 'registered' WHEN 'TrainingDatasetBuilt' THEN 'dataset_built'
                WHEN 'TrainingResourcesUsed' THEN 'resources_used' ELSE lower(replace(event, 'Training', '')) END,
            time, actor, correlation_id, event_id,
            jsonb_strip_nulls(jsonb_build_object({", ".join(f"'{name}', {name}" for name in DETAILS)})),
            partition, "offset"
        FROM batch ON CONFLICT DO NOTHING
    """,
    indexes=("(run_id, at)",),
)
