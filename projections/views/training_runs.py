"""Every training run: what was asked for, what it read, what came of it."""

from projections.view import View
from schemas.models import TrainingCompleted, TrainingFailed, TrainingRequested, TrainingStarted

VIEW = View(
    name="training_runs",
    version=1,
    reads=(TrainingRequested, TrainingStarted, TrainingCompleted, TrainingFailed),
    table="""
        run_id text NOT NULL, model text NOT NULL, algorithm text, params jsonb NOT NULL DEFAULT '{}', k int,
        status text NOT NULL, ranges jsonb NOT NULL DEFAULT '[]', dataset_sha256 text, dataset_rows bigint,
        duplicates bigint, artifact_sha256 text, artifact_bytes bigint, metrics jsonb NOT NULL DEFAULT '{}',
        duration_s float8, reason text, requested_at timestamptz, updated_at timestamptz NOT NULL,
        PRIMARY KEY (run_id, model)
    """,
    batch="""
        event text, run_id text, model text, algorithm text, params jsonb, k int, ranges jsonb, dataset_sha256 text,
        dataset_rows bigint, duplicates bigint, artifact_sha256 text, artifact_bytes bigint, metrics jsonb,
        duration_s float8, reason text, time timestamptz, "offset" bigint
    """,
    apply="""
        WITH latest AS (
            SELECT DISTINCT ON (model, run_id) model, run_id, time, CASE event
                WHEN 'TrainingRequested' THEN 'requested' WHEN 'TrainingStarted' THEN 'started'
                WHEN 'TrainingCompleted' THEN 'completed' ELSE 'failed' END AS status
            FROM batch ORDER BY model, run_id, "offset" DESC
        ), requested AS (
            SELECT DISTINCT ON (model, run_id) * FROM batch WHERE event = 'TrainingRequested'
            ORDER BY model, run_id, "offset" DESC
        ), ranged AS (
            SELECT DISTINCT ON (model, run_id) model, run_id, ranges FROM batch WHERE ranges IS NOT NULL
            ORDER BY model, run_id, "offset" DESC
        ), completed AS (
            SELECT DISTINCT ON (model, run_id) * FROM batch WHERE event = 'TrainingCompleted'
            ORDER BY model, run_id, "offset" DESC
        ), failed AS (
            SELECT DISTINCT ON (model, run_id) model, run_id, reason FROM batch WHERE event = 'TrainingFailed'
            ORDER BY model, run_id, "offset" DESC
        )
        INSERT INTO {table} AS t (run_id, model, algorithm, params, k, status, ranges, dataset_sha256, dataset_rows,
            duplicates, artifact_sha256, artifact_bytes, metrics, duration_s, reason, requested_at, updated_at)
        SELECT
            latest.run_id, latest.model,
            coalesce(r.algorithm, old.algorithm), coalesce(r.params, old.params, '{}'), coalesce(r.k, old.k),
            latest.status, coalesce(ranged.ranges, old.ranges, '[]'),
            coalesce(c.dataset_sha256, old.dataset_sha256), coalesce(c.dataset_rows, old.dataset_rows),
            coalesce(c.duplicates, old.duplicates), coalesce(c.artifact_sha256, old.artifact_sha256),
            coalesce(c.artifact_bytes, old.artifact_bytes), coalesce(c.metrics, old.metrics, '{}'),
            coalesce(c.duration_s, old.duration_s), coalesce(failed.reason, old.reason),
            coalesce(r.time, old.requested_at), latest.time
        FROM latest
            LEFT JOIN {table} old USING (model, run_id)
            LEFT JOIN requested r USING (model, run_id)
            LEFT JOIN ranged USING (model, run_id)
            LEFT JOIN completed c USING (model, run_id)
            LEFT JOIN failed USING (model, run_id)
        ON CONFLICT (run_id, model) DO UPDATE SET
            algorithm = excluded.algorithm, params = excluded.params, k = excluded.k,
            status = excluded.status, ranges = excluded.ranges, dataset_sha256 = excluded.dataset_sha256,
            dataset_rows = excluded.dataset_rows, duplicates = excluded.duplicates,
            artifact_sha256 = excluded.artifact_sha256, artifact_bytes = excluded.artifact_bytes,
            metrics = excluded.metrics, duration_s = excluded.duration_s, reason = excluded.reason,
            requested_at = excluded.requested_at, updated_at = excluded.updated_at
    """,
    indexes=("(model, requested_at)",),
)
