"""The versions of every model."""

from projections.view import View
from schemas.models import ModelRegistered, ModelRetired

VIEW = View(
    name="model_registry",
    version=1,
    reads=(ModelRegistered, ModelRetired),
    table="""
        model text NOT NULL, version int NOT NULL, run_id text, algorithm text, artifact_sha256 text,
        dataset_sha256 text, metrics jsonb NOT NULL DEFAULT '{}', retired bool NOT NULL DEFAULT false,
        registered_at timestamptz, PRIMARY KEY (model, version)
    """,
    batch="""
        event text, model text, version int, run_id text, algorithm text, artifact_sha256 text, dataset_sha256 text,
        metrics jsonb, time timestamptz, "offset" bigint
    """,
    apply="""
        WITH latest AS (
            SELECT DISTINCT ON (model, version) model, version, event = 'ModelRetired' AS retired
            FROM batch ORDER BY model, version, "offset" DESC
        ), registered AS (
            SELECT DISTINCT ON (model, version) * FROM batch WHERE event = 'ModelRegistered'
            ORDER BY model, version, "offset" DESC
        )
        INSERT INTO {table} AS t (model, version, run_id, algorithm, artifact_sha256, dataset_sha256, metrics, retired,
                                  registered_at)
        SELECT
            model, version, coalesce(r.run_id, old.run_id), coalesce(r.algorithm, old.algorithm),
            coalesce(r.artifact_sha256, old.artifact_sha256), coalesce(r.dataset_sha256, old.dataset_sha256),
            coalesce(r.metrics, old.metrics, '{}'), latest.retired, coalesce(r.time, old.registered_at)
        FROM latest LEFT JOIN {table} old USING (model, version) LEFT JOIN registered r USING (model, version)
        ON CONFLICT (model, version) DO UPDATE SET
            run_id = excluded.run_id, algorithm = excluded.algorithm, artifact_sha256 = excluded.artifact_sha256,
            dataset_sha256 = excluded.dataset_sha256, metrics = excluded.metrics, retired = excluded.retired,
            registered_at = excluded.registered_at
    """,
    indexes=("(artifact_sha256)",),
)
