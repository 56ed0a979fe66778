"""Every record that a reader gave up, and what became of it."""

from projections.view import View
from schemas.deadletters import RecordDeadLettered, RecordRecovered, RecordSkipped, RetryFailed

VIEW = View(
    name="dead_letters",
    version=1,
    reads=(RecordDeadLettered, RecordRecovered, RecordSkipped, RetryFailed),
    table="""
        letter_id text PRIMARY KEY, consumer text, version int, position text, key text, type text, code text,
        cause text, parked bool NOT NULL, state text NOT NULL, attempts int NOT NULL, reason text,
        first_at timestamptz NOT NULL, last_at timestamptz NOT NULL, history jsonb NOT NULL
    """,
    batch="""
        event text, event_id uuid, letter_id text, consumer text, version int, position text, key text, type text,
        code text, cause text, parked bool, attempts int, reason text, request_id text, actor text, time timestamptz,
        "offset" bigint
    """,
    apply="""
        WITH told AS (
            SELECT coalesce(letter_id, event_id::text) AS letter, batch.*, CASE event
                WHEN 'RecordDeadLettered' THEN CASE WHEN parked THEN 'parked' ELSE 'passed' END
                WHEN 'RecordRecovered' THEN 'recovered' WHEN 'RecordSkipped' THEN 'skipped' ELSE 'parked' END AS state
            FROM batch
        ), latest AS (
            SELECT DISTINCT ON (letter) letter, state, reason FROM told ORDER BY letter, "offset" DESC
        ), named AS (
            SELECT DISTINCT ON (letter) * FROM told WHERE event = 'RecordDeadLettered' ORDER BY letter, "offset"
        ), caused AS (
            SELECT DISTINCT ON (letter) letter, code, cause FROM told WHERE code IS NOT NULL
            ORDER BY letter, "offset" DESC
        ), summed AS (
            SELECT letter, count(*) FILTER (WHERE event <> 'RecordSkipped')::int AS attempts, min(time) AS first_at,
                max(time) AS last_at, jsonb_agg(jsonb_strip_nulls(jsonb_build_object('event', event, 'at', time,
                    'actor', actor, 'code', code, 'cause', cause, 'reason', reason, 'request_id', request_id))
                    ORDER BY "offset") AS history
            FROM told GROUP BY letter
        )
        INSERT INTO {table} AS t (letter_id, consumer, version, position, key, type, code, cause, parked, state,
            attempts, reason, first_at, last_at, history)
        SELECT summed.letter, coalesce(named.consumer, old.consumer), coalesce(named.version, old.version),
            coalesce(nullif(named.position, ''), old.position), coalesce(named.key, old.key),
            coalesce(named.type, old.type), coalesce(caused.code, old.code), coalesce(caused.cause, old.cause),
            coalesce(named.parked, old.parked, true), latest.state, summed.attempts, latest.reason, summed.first_at,
            summed.last_at, summed.history
        FROM summed
            JOIN latest USING (letter)
            LEFT JOIN named USING (letter)
            LEFT JOIN caused USING (letter)
            LEFT JOIN {table} old ON old.letter_id = summed.letter
        ON CONFLICT (letter_id) DO UPDATE SET
            consumer = excluded.consumer, version = excluded.version, position = excluded.position,
            key = excluded.key, type = excluded.type, code = excluded.code, cause = excluded.cause,
            parked = excluded.parked, state = excluded.state, attempts = t.attempts + excluded.attempts,
            reason = excluded.reason, last_at = excluded.last_at, history = t.history || excluded.history
    """,
    indexes=("(last_at DESC, letter_id)", "(consumer, state)", "(code)"),
    deduplicate=True,
)
