"""Every recommendation that was served: with what, from what, by what."""

from projections.view import View
from schemas.decisions import RecommendationServed

VIEW = View(
    name="decisions",
    version=1,
    reads=(RecommendationServed,),
    table="""
        decision_id text NOT NULL, user_id text NOT NULL, model text NOT NULL, version int, artifact_sha256 text,
        deployment_id text, source text NOT NULL, fallback_reason text, arm text NOT NULL, items jsonb NOT NULL,
        positions jsonb NOT NULL, history_length int NOT NULL, history_sha256 text NOT NULL, candidates int NOT NULL,
        filtered text[] NOT NULL, based_on text, "limit" int NOT NULL, latency_ms float8 NOT NULL, server text NOT NULL,
        sequence bigint NOT NULL, served_at timestamptz NOT NULL, partition int NOT NULL, "offset" bigint NOT NULL,
        PRIMARY KEY (decision_id, user_id)
    """,
    batch="""
        decision_id text, user_id text, model text, version int, artifact_sha256 text, deployment_id text, source text,
        fallback_reason text, arm text, items jsonb, positions jsonb, history_length int, history_sha256 text,
        candidates int, filtered text[], based_on text, "limit" int, latency_ms float8, server text, sequence bigint,
        served_at timestamptz, partition int, "offset" bigint
    """,
    apply="""
        INSERT INTO {table} (decision_id, user_id, model, version, artifact_sha256, deployment_id, source,
            fallback_reason, arm, items, positions, history_length, history_sha256, candidates, filtered, based_on,
            "limit", latency_ms, server, sequence, served_at, partition, "offset")
        SELECT decision_id, user_id, model, version, artifact_sha256, deployment_id, source,
            fallback_reason, arm, items, positions, history_length, history_sha256, candidates, filtered, based_on,
            "limit", latency_ms, server, sequence, served_at, partition, "offset"
        FROM batch ORDER BY partition, "offset"
        ON CONFLICT (decision_id, user_id) DO NOTHING
    """,
    indexes=("(user_id, served_at)", "(server, sequence)"),
    personal="user_id",
    # Kept, so that the gaps in the numbers of a server still tell what was not recorded.
    anonymous=(
        ("user_id", "concat('erased/', partition, '/', \"offset\")"),
        ("items", "'[]'"),
        ("filtered", "'{}'"),
        ("history_sha256", "''"),
        ("based_on", "NULL"),
    ),
)
