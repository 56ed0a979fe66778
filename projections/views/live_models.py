"""Which version of each model serves, and since when.

The table keeps every change, so that a rollback finds the artifact of the version it goes back to; the published view
shows the last.
"""

from projections.view import View
from schemas.deployments import DeploymentPromoted, DeploymentRolledBack

VIEW = View(
    name="live_models",
    version=1,
    reads=(DeploymentPromoted, DeploymentRolledBack),
    table="""
        model text NOT NULL, "offset" bigint NOT NULL, version int, artifact_sha256 text, deployment_id text NOT NULL,
        at timestamptz NOT NULL, PRIMARY KEY (model, "offset")
    """,
    batch="""
        event text, model text, "offset" bigint, version int, serving int, artifact_sha256 text, deployment_id text,
        time timestamptz
    """,
    apply="""
        INSERT INTO {table} (model, "offset", version, artifact_sha256, deployment_id, at)
        SELECT model, "offset", CASE event WHEN 'DeploymentPromoted' THEN version ELSE serving END, artifact_sha256,
               deployment_id, time
        FROM batch
        ON CONFLICT DO NOTHING
    """,
    published="""
        SELECT now.model, now.version, promoted.artifact_sha256, promoted.deployment_id, began.since
        FROM (SELECT DISTINCT ON (model) * FROM {table} ORDER BY model, "offset" DESC) now
        CROSS JOIN LATERAL (
            SELECT artifact_sha256, deployment_id FROM {table} p
            WHERE p.model = now.model AND p.version = now.version AND p.artifact_sha256 IS NOT NULL
            ORDER BY p."offset" DESC LIMIT 1
        ) promoted
        CROSS JOIN LATERAL (
            SELECT min(c.at) AS since FROM {table} c WHERE c.model = now.model AND c."offset" > coalesce((
                SELECT max(o."offset") FROM {table} o
                WHERE o.model = now.model AND o.version IS DISTINCT FROM now.version
            ), -1)
        ) began
    """,
)
