"""Every training run: what was asked for, what it read, how far it is, what came of it, and what it has used."""

from projections.view import View
from schemas.models import (
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

COLUMNS = {
    "run_id": "text NOT NULL",
    "model": "text NOT NULL",
    "algorithm": "text",
    "params": "jsonb NOT NULL",
    "k": "int",
    "status": "text NOT NULL",
    "ranges": "jsonb NOT NULL",
    "dataset_sha256": "text",
    "dataset_rows": "bigint",
    "duplicates": "bigint",
    "artifact_sha256": "text",
    "artifact_bytes": "bigint",
    "metrics": "jsonb NOT NULL",
    "duration_s": "float8",
    "reason": "text",
    "requested_at": "timestamptz",
    "updated_at": "timestamptz NOT NULL",
    "attempt": "int NOT NULL",
    "requested_by": "text",
    "since": "timestamptz",
    "waits_for": "text",
    "started_at": "timestamptz",
    "ended_at": "timestamptz",
    "worker": "text",
    "slot": "int",
    "step": "text",
    "done": "bigint",
    "total": "bigint",
    "percent": "float8",
    "eta_s": "float8",
    "progress_at": "timestamptz",
    "dataset": "jsonb",
    "manifest": "jsonb",
    "resources": "jsonb",
}
NAMES = ", ".join(COLUMNS)
DEFAULTS = """'{"params": {}, "status": "requested", "ranges": [], "metrics": {}, "attempt": 1}'::jsonb"""

NOTHING_YET = """
    'dataset_sha256', NULL, 'dataset_rows', NULL, 'duplicates', NULL, 'artifact_sha256', NULL, 'artifact_bytes', NULL,
    'metrics', '{}'::jsonb, 'duration_s', NULL, 'reason', NULL, 'waits_for', NULL, 'started_at', NULL,
    'ended_at', NULL, 'worker', NULL, 'slot', NULL, 'step', NULL, 'done', NULL, 'total', NULL, 'percent', NULL,
    'eta_s', NULL, 'progress_at', NULL, 'dataset', NULL, 'manifest', NULL, 'resources', NULL
"""
"""What a new attempt begins without."""

VIEW = View(
    name="training_runs",
    version=2,
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
    ),
    table=", ".join(f"{name} {kind}" for name, kind in COLUMNS.items()) + ", PRIMARY KEY (run_id, model)",
    batch="""
        event text, run_id text, model text, attempt int, algorithm text, params jsonb, k int, ranges jsonb,
        dataset_sha256 text, dataset_rows bigint, duplicates bigint, artifact_sha256 text, artifact_bytes bigint,
        metrics jsonb, duration_s float8, reason text, worker text, slot int, step text, done bigint, total bigint,
        percent float8, eta_s float8, silent_kinds jsonb, silent bigint, withdrawn bigint, erased bigint,
        erasures jsonb, manifest text, cpu_s float8, wall_s float8, peak_memory_bytes bigint, bytes_read bigint,
        gpu text, gpu_peak_memory_bytes bigint, time timestamptz, actor text, "offset" bigint
    """,
    # Each event is a patch of the row; where several say something of a column, jsonb keeps the last.
    apply=f"""
        WITH told AS (
            SELECT model, run_id, "offset", jsonb_build_object('updated_at', time) || CASE event
                WHEN 'TrainingRequested' THEN jsonb_build_object('algorithm', algorithm, 'params', params, 'k', k,
                    'ranges', ranges, 'status', 'requested', 'requested_by', actor, 'requested_at', time,
                    'since', time)
                WHEN 'TrainingQueued' THEN jsonb_build_object('status', 'queued', 'waits_for', reason)
                WHEN 'TrainingStarted' THEN jsonb_build_object('status', 'started', 'ranges', ranges,
                    'started_at', time, 'worker', worker, 'slot', slot, 'waits_for', NULL)
                WHEN 'TrainingDatasetBuilt' THEN jsonb_build_object('dataset_sha256', dataset_sha256,
                    'dataset_rows', dataset_rows, 'duplicates', duplicates,
                    'manifest', CASE WHEN manifest IS JSON THEN manifest::jsonb END,
                    'dataset', jsonb_build_object('silent_kinds', silent_kinds, 'silent', silent,
                        'withdrawn', withdrawn, 'erased', erased, 'erasures', erasures))
                WHEN 'TrainingProgressed' THEN jsonb_build_object('step', step, 'done', done, 'total', total,
                    'percent', percent, 'eta_s', eta_s, 'progress_at', time)
                    || CASE worker WHEN '' THEN '{{}}' ELSE jsonb_build_object('worker', worker) END
                WHEN 'TrainingEvaluated' THEN jsonb_build_object('metrics', metrics)
                WHEN 'TrainingResourcesUsed' THEN jsonb_build_object('resources', jsonb_build_object(
                    'attempt', attempt, 'cpu_s', cpu_s, 'wall_s', wall_s, 'peak_memory_bytes', peak_memory_bytes,
                    'bytes_read', bytes_read, 'gpu', gpu, 'gpu_peak_memory_bytes', gpu_peak_memory_bytes))
                WHEN 'TrainingCompleted' THEN jsonb_build_object('status', 'completed', 'ended_at', time,
                    'dataset_sha256', dataset_sha256, 'dataset_rows', dataset_rows, 'duplicates', duplicates,
                    'artifact_sha256', artifact_sha256, 'artifact_bytes', artifact_bytes, 'metrics', metrics,
                    'duration_s', duration_s, 'percent', 100.0, 'eta_s', 0.0)
                WHEN 'TrainingFailed' THEN jsonb_build_object('status', 'failed', 'ended_at', time, 'reason', reason,
                    'eta_s', NULL)
                WHEN 'TrainingCancelled' THEN jsonb_build_object('status', 'cancelled', 'ended_at', time,
                    'reason', reason, 'eta_s', NULL)
                ELSE jsonb_build_object({NOTHING_YET}) || jsonb_build_object('status', 'requested',
                    'attempt', attempt, 'since', time)
            END AS patch
            FROM batch
        ), folded AS (
            SELECT model, run_id, jsonb_object_agg(key, value ORDER BY "offset") AS patch
            FROM told, jsonb_each(patch) GROUP BY model, run_id
        )
        INSERT INTO {{table}} ({NAMES})
        SELECT whole.* FROM folded LEFT JOIN {{table}} old USING (model, run_id), jsonb_populate_record(
            NULL::{{table}}, {DEFAULTS} || coalesce(to_jsonb(old), '{{}}') || folded.patch
                || jsonb_build_object('model', folded.model, 'run_id', folded.run_id)) whole
        ON CONFLICT (run_id, model) DO UPDATE SET
            {", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name not in ("run_id", "model"))}
    """,
    indexes=("(model, requested_at)", "(status, since)", "(dataset_sha256)"),
)
