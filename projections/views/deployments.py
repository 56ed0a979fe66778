"""Every deployment: which step it has come to, and on what evidence."""

from projections.view import View
from schemas.deployments import (
    DeploymentAborted,
    DeploymentCompleted,
    DeploymentLoaded,
    DeploymentPromoted,
    DeploymentRequested,
    DeploymentRolledBack,
    DeploymentValidated,
)

VIEW = View(
    name="deployments",
    version=1,
    reads=(
        DeploymentRequested,
        DeploymentValidated,
        DeploymentLoaded,
        DeploymentPromoted,
        DeploymentCompleted,
        DeploymentAborted,
        DeploymentRolledBack,
    ),
    table="""
        deployment_id text NOT NULL, model text NOT NULL, version int, artifact_sha256 text, step text NOT NULL,
        rollback_to int, requested_by text, requested_at timestamptz, updated_at timestamptz NOT NULL, reason text,
        evidence jsonb NOT NULL DEFAULT '{}', PRIMARY KEY (deployment_id, model)
    """,
    batch="""
        event text, deployment_id text, model text, version int, artifact_sha256 text, rollback_to int,
        requested_by text, reason text, evidence jsonb, time timestamptz, "offset" bigint
    """,
    # Evidence is kept by the step that it was given for; where keys repeat, jsonb keeps the last.
    apply="""
        WITH staged AS (
            SELECT *, CASE event WHEN 'DeploymentRolledBack' THEN 'rolled_back'
                ELSE lower(replace(event, 'Deployment', '')) END AS step
            FROM batch
        ), latest AS (
            SELECT DISTINCT ON (model, deployment_id) * FROM staged ORDER BY model, deployment_id, "offset" DESC
        ), requested AS (
            SELECT DISTINCT ON (model, deployment_id) * FROM staged WHERE step = 'requested'
            ORDER BY model, deployment_id, "offset" DESC
        ), reasoned AS (
            SELECT DISTINCT ON (model, deployment_id) model, deployment_id, reason FROM staged WHERE reason <> ''
            ORDER BY model, deployment_id, "offset" DESC
        ), proven AS (
            SELECT model, deployment_id, jsonb_object_agg(step, evidence ORDER BY "offset") AS evidence
            FROM staged WHERE evidence IS NOT NULL GROUP BY model, deployment_id
        )
        INSERT INTO {table} AS t (deployment_id, model, version, artifact_sha256, step, rollback_to, requested_by,
                                  requested_at, updated_at, reason, evidence)
        SELECT
            latest.deployment_id, latest.model, coalesce(r.version, old.version),
            coalesce(r.artifact_sha256, old.artifact_sha256), latest.step,
            CASE WHEN r.model IS NULL THEN old.rollback_to ELSE r.rollback_to END,
            coalesce(r.requested_by, old.requested_by), coalesce(r.time, old.requested_at), latest.time,
            coalesce(reasoned.reason, old.reason), coalesce(old.evidence, '{}') || coalesce(proven.evidence, '{}')
        FROM latest
            LEFT JOIN {table} old USING (model, deployment_id)
            LEFT JOIN requested r USING (model, deployment_id)
            LEFT JOIN reasoned USING (model, deployment_id)
            LEFT JOIN proven USING (model, deployment_id)
        ON CONFLICT (deployment_id, model) DO UPDATE SET
            version = excluded.version, artifact_sha256 = excluded.artifact_sha256,
            step = excluded.step, rollback_to = excluded.rollback_to, requested_by = excluded.requested_by,
            requested_at = excluded.requested_at, updated_at = excluded.updated_at, reason = excluded.reason,
            evidence = excluded.evidence
    """,
    indexes=("(model, requested_at)",),
)
