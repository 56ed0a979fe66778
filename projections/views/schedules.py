"""Every scheduled command: when it is due, and what became of it."""

from projections.view import View
from schemas.schedules import CommandRescheduled, CommandScheduled, ScheduleCancelled, ScheduleFired, ScheduleSent

VIEW = View(
    name="schedules",
    version=1,
    reads=(CommandScheduled, CommandRescheduled, ScheduleCancelled, ScheduleFired, ScheduleSent),
    table="""
        schedule_id text PRIMARY KEY, status text NOT NULL, due_at timestamptz, revision int, command_type text,
        data text, scheduled_by text, scheduled_at timestamptz, command_id text, reason text,
        updated_at timestamptz NOT NULL
    """,
    batch="""
        event text, schedule_id text, due_at timestamptz, revision int, command_type text, data text, actor text,
        sent_command_id text, reason text, problem text, time timestamptz, "offset" bigint
    """,
    apply="""
        WITH latest AS (
            SELECT DISTINCT ON (schedule_id) schedule_id, time, CASE event
                WHEN 'CommandScheduled' THEN 'pending' WHEN 'CommandRescheduled' THEN 'pending'
                WHEN 'ScheduleCancelled' THEN 'cancelled' WHEN 'ScheduleFired' THEN 'fired'
                ELSE CASE WHEN problem = '' THEN 'sent' ELSE 'failed' END END AS status
            FROM batch ORDER BY schedule_id, "offset" DESC
        ), made AS (
            SELECT DISTINCT ON (schedule_id) * FROM batch WHERE event = 'CommandScheduled'
            ORDER BY schedule_id, "offset" DESC
        ), timed AS (
            SELECT DISTINCT ON (schedule_id) schedule_id, due_at, coalesce(revision, 1) AS revision FROM batch
            WHERE due_at IS NOT NULL ORDER BY schedule_id, "offset" DESC
        ), named AS (
            SELECT DISTINCT ON (schedule_id) schedule_id, sent_command_id AS command_id FROM batch
            WHERE sent_command_id IS NOT NULL ORDER BY schedule_id, "offset" DESC
        ), explained AS (
            SELECT DISTINCT ON (schedule_id) schedule_id, reason || problem AS reason
            FROM (SELECT schedule_id, "offset", coalesce(reason, '') AS reason, coalesce(problem, '') AS problem
                  FROM batch) said
            WHERE reason || problem <> '' ORDER BY schedule_id, "offset" DESC
        )
        INSERT INTO {table} AS t (schedule_id, status, due_at, revision, command_type, data, scheduled_by, scheduled_at,
            command_id, reason, updated_at)
        SELECT latest.schedule_id, latest.status, coalesce(timed.due_at, old.due_at),
            coalesce(timed.revision, old.revision), coalesce(made.command_type, old.command_type),
            coalesce(made.data, old.data), coalesce(made.actor, old.scheduled_by),
            coalesce(made.time, old.scheduled_at), coalesce(named.command_id, old.command_id),
            coalesce(explained.reason, old.reason), latest.time
        FROM latest
            LEFT JOIN {table} old USING (schedule_id)
            LEFT JOIN made USING (schedule_id)
            LEFT JOIN timed USING (schedule_id)
            LEFT JOIN named USING (schedule_id)
            LEFT JOIN explained USING (schedule_id)
        ON CONFLICT (schedule_id) DO UPDATE SET
            status = excluded.status, due_at = excluded.due_at, revision = excluded.revision,
            command_type = excluded.command_type, data = excluded.data, scheduled_by = excluded.scheduled_by,
            scheduled_at = excluded.scheduled_at, command_id = excluded.command_id, reason = excluded.reason,
            updated_at = excluded.updated_at
    """,
    published="""
        SELECT schedule_id, status, due_at, revision, command_type, data::jsonb AS data, scheduled_by, scheduled_at,
               command_id, reason, updated_at
        FROM {table}
    """,
    indexes=("(status, due_at)",),
)
