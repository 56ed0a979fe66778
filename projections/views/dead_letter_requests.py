"""What was asked of dead letters, and what it led to."""

from projections.view import View
from schemas.deadletters import RequestSettled, RetryRequested, SkipRequested

VIEW = View(
    name="dead_letter_requests",
    version=1,
    reads=(RetryRequested, SkipRequested, RequestSettled),
    table="""
        request_id text PRIMARY KEY, kind text, view text NOT NULL, actor text, reason text, requested_at timestamptz,
        settled_at timestamptz, version int, selection text, recovered int, failed int, skipped int, released int,
        problem text
    """,
    batch="""
        event text, event_id uuid, request_id text, view text, actor text, reason text, time timestamptz, version int,
        selection text, recovered int, failed int, skipped int, released int, problem text, "offset" bigint
    """,
    apply="""
        WITH asked AS (
            SELECT DISTINCT ON (event_id) event_id::text AS id, CASE event WHEN 'SkipRequested' THEN 'skip'
                ELSE 'retry' END AS kind, view, actor, reason, time
            FROM batch WHERE event <> 'RequestSettled' ORDER BY event_id, "offset"
        ), settled AS (
            SELECT DISTINCT ON (request_id) request_id AS id, batch.* FROM batch WHERE event = 'RequestSettled'
            ORDER BY request_id, "offset"
        )
        INSERT INTO {table} AS t (request_id, kind, view, actor, reason, requested_at, settled_at, version, selection,
            recovered, failed, skipped, released, problem)
        SELECT id, asked.kind, coalesce(asked.view, settled.view), asked.actor, asked.reason, asked.time, settled.time,
            settled.version, settled.selection, settled.recovered, settled.failed, settled.skipped, settled.released,
            settled.problem
        FROM asked FULL JOIN settled USING (id)
        ON CONFLICT (request_id) DO UPDATE SET
            kind = coalesce(t.kind, excluded.kind), actor = coalesce(t.actor, excluded.actor),
            reason = coalesce(t.reason, excluded.reason),
            requested_at = coalesce(t.requested_at, excluded.requested_at),
            settled_at = coalesce(t.settled_at, excluded.settled_at), version = coalesce(t.version, excluded.version),
            selection = coalesce(t.selection, excluded.selection),
            recovered = coalesce(t.recovered, excluded.recovered), failed = coalesce(t.failed, excluded.failed),
            skipped = coalesce(t.skipped, excluded.skipped), released = coalesce(t.released, excluded.released),
            problem = coalesce(t.problem, excluded.problem)
    """,
    indexes=("(requested_at)",),
    deduplicate=True,
)
