"""Every API key and what has become of it; hashes and secrets are not here.

The table keeps every change; the published view shows each key as it is.
"""

from projections.view import View
from schemas.access import ApiKeyCreated, ApiKeyRevoked, ApiKeyRotated

VIEW = View(
    name="api_keys",
    version=1,
    reads=(ApiKeyCreated, ApiKeyRotated, ApiKeyRevoked),
    table="""
        key_id text NOT NULL, "offset" bigint NOT NULL, event text NOT NULL, at timestamptz NOT NULL,
        by text NOT NULL, name text, roles text[], expires_at timestamptz, previous_until timestamptz, reason text,
        PRIMARY KEY (key_id, "offset")
    """,
    batch="""
        event text, key_id text, "offset" bigint, time timestamptz, actor text, name text, roles text[],
        expires_at timestamptz, previous_until timestamptz, reason text
    """,
    apply="""
        INSERT INTO {table} (key_id, "offset", event, at, by, name, roles, expires_at, previous_until, reason)
        SELECT key_id, "offset", event, time, actor, name, roles, expires_at, previous_until, reason FROM batch
        ON CONFLICT DO NOTHING
    """,
    published="""
        SELECT made.key_id, made.name, made.roles, made.at AS created_at, made.by AS created_by, made.expires_at,
               rotated.at AS rotated_at, rotated.previous_until, revoked.at AS revoked_at, revoked.by AS revoked_by,
               revoked.reason
        FROM (SELECT DISTINCT ON (key_id) * FROM {table} WHERE event = 'ApiKeyCreated' ORDER BY key_id, "offset") made
        LEFT JOIN LATERAL (
            SELECT * FROM {table} r WHERE r.key_id = made.key_id AND r.event = 'ApiKeyRotated'
            ORDER BY r."offset" DESC LIMIT 1
        ) rotated ON true
        LEFT JOIN LATERAL (
            SELECT * FROM {table} r WHERE r.key_id = made.key_id AND r.event = 'ApiKeyRevoked'
            ORDER BY r."offset" LIMIT 1
        ) revoked ON true
    """,
)
