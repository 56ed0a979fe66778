"""Every deployment: which step it has come to, on what evidence, and who approved it on that."""

from projections.view import View
from schemas.deployments import (
    ApprovalRequested,
    DeploymentAborted,
    DeploymentApproved,
    DeploymentCompleted,
    DeploymentDeclined,
    DeploymentLoaded,
    DeploymentPromoted,
    DeploymentRequested,
    DeploymentRolledBack,
    DeploymentValidated,
)

VIEW = View(
    name="deployments",
    version=2,
    reads=(
        DeploymentRequested,
        DeploymentValidated,
        DeploymentLoaded,
        ApprovalRequested,
        DeploymentApproved,
        DeploymentDeclined,
        DeploymentPromoted,
        DeploymentCompleted,
        DeploymentAborted,
        DeploymentRolledBack,
    ),
    table="""
        deployment_id text NOT NULL, model text NOT NULL, version int, artifact_sha256 text, step text,
        rollback_to int, requested_by text, requested_at timestamptz, updated_at timestamptz NOT NULL, reason text,
        evidence jsonb NOT NULL DEFAULT '{}', approvals_wanted int, requester_may_approve boolean,
        approve_until timestamptz, evidence_sha256 text, approvals jsonb NOT NULL DEFAULT '[]', declined_by text,
        PRIMARY KEY (deployment_id, model)
    """,
    batch="""
        event text, deployment_id text, model text, version int, artifact_sha256 text, rollback_to int,
        requested_by text, reason text, evidence jsonb, approvals_wanted int, requester_may_approve boolean,
        timeout_s int, evidence_sha256 text, approvals int, approver text, comment text, declined_by text,
        time timestamptz, topic text, partition int, "offset" bigint
    """,
    # Evidence is kept by the step that it was given for; where keys repeat, jsonb keeps the last. A refusal is no step:
    # the deployment is aborted by the event after it.
    apply="""
        WITH staged AS (
            SELECT *, CASE event WHEN 'DeploymentRolledBack' THEN 'rolled_back' WHEN 'DeploymentDeclined' THEN NULL
                WHEN 'ApprovalRequested' THEN 'awaiting_approval'
                WHEN 'DeploymentApproved' THEN
                    CASE WHEN approvals < approvals_wanted THEN 'awaiting_approval' ELSE 'approved' END
                ELSE lower(replace(event, 'Deployment', '')) END AS step
            FROM batch
        ), latest AS (
            SELECT model, deployment_id, (array_agg(time ORDER BY "offset" DESC))[1] AS time,
                (array_agg(step ORDER BY "offset" DESC) FILTER (WHERE step IS NOT NULL))[1] AS step,
                (array_agg(reason ORDER BY "offset" DESC) FILTER (WHERE reason <> ''))[1] AS reason,
                (array_agg(declined_by ORDER BY "offset" DESC) FILTER (WHERE declined_by IS NOT NULL))[1] AS declined_by
            FROM staged GROUP BY model, deployment_id
        ), requested AS (
            SELECT DISTINCT ON (model, deployment_id) * FROM staged WHERE event = 'DeploymentRequested'
            ORDER BY model, deployment_id, "offset" DESC
        ), shown AS (
            SELECT DISTINCT ON (model, deployment_id) model, deployment_id, evidence_sha256,
                time + timeout_s * interval '1 second' AS approve_until
            FROM staged WHERE event = 'ApprovalRequested' ORDER BY model, deployment_id, "offset" DESC
        ), proven AS (
            SELECT model, deployment_id, jsonb_object_agg(step, evidence ORDER BY "offset") AS evidence
            FROM staged WHERE evidence IS NOT NULL AND event <> 'ApprovalRequested' GROUP BY model, deployment_id
        ), given AS (
            SELECT model, deployment_id, jsonb_agg(jsonb_build_object(
                'approver', approver, 'at', time, 'comment', comment, 'artifact_sha256', artifact_sha256,
                'evidence_sha256', evidence_sha256, 'position', concat_ws('/', topic, partition, "offset")
            ) ORDER BY "offset") AS approvals
            FROM staged WHERE event = 'DeploymentApproved' GROUP BY model, deployment_id
        )
        INSERT INTO {table} AS t (deployment_id, model, version, artifact_sha256, step, rollback_to, requested_by,
            requested_at, updated_at, reason, evidence, approvals_wanted, requester_may_approve, approve_until,
            evidence_sha256, approvals, declined_by)
        SELECT
            latest.deployment_id, latest.model, coalesce(r.version, old.version),
            coalesce(r.artifact_sha256, old.artifact_sha256), coalesce(latest.step, old.step),
            CASE WHEN r.model IS NULL THEN old.rollback_to ELSE r.rollback_to END,
            coalesce(r.requested_by, old.requested_by), coalesce(r.time, old.requested_at), latest.time,
            coalesce(latest.reason, old.reason), coalesce(old.evidence, '{}') || coalesce(proven.evidence, '{}'),
            coalesce(r.approvals_wanted, old.approvals_wanted),
            coalesce(r.requester_may_approve, old.requester_may_approve),
            coalesce(shown.approve_until, old.approve_until), coalesce(shown.evidence_sha256, old.evidence_sha256),
            coalesce(old.approvals, '[]') || coalesce(given.approvals, '[]'),
            coalesce(latest.declined_by, old.declined_by)
        FROM latest
            LEFT JOIN {table} old USING (model, deployment_id)
            LEFT JOIN requested r USING (model, deployment_id)
            LEFT JOIN shown USING (model, deployment_id)
            LEFT JOIN proven USING (model, deployment_id)
            LEFT JOIN given USING (model, deployment_id)
        ON CONFLICT (deployment_id, model) DO UPDATE SET
            version = excluded.version, artifact_sha256 = excluded.artifact_sha256,
            step = excluded.step, rollback_to = excluded.rollback_to, requested_by = excluded.requested_by,
            requested_at = excluded.requested_at, updated_at = excluded.updated_at, reason = excluded.reason,
            evidence = excluded.evidence, approvals_wanted = excluded.approvals_wanted,
            requester_may_approve = excluded.requester_may_approve, approve_until = excluded.approve_until,
            evidence_sha256 = excluded.evidence_sha256, approvals = excluded.approvals,
            declined_by = excluded.declined_by
    """,
    indexes=("(model, requested_at)", "(step, approve_until) WHERE step = 'awaiting_approval'"),
)
