"""When each API key was last used, as far as the services have said: every few minutes at most."""

from projections.view import View
from schemas.usage import ApiKeyUsed

VIEW = View(
    name="api_key_uses",
    version=1,
    reads=(ApiKeyUsed,),
    table="key_id text PRIMARY KEY, last_used_at timestamptz NOT NULL",
    batch="key_id text, used_at timestamptz",
    apply="""
        INSERT INTO {table} AS old (key_id, last_used_at)
        SELECT key_id, max(used_at) FROM batch GROUP BY key_id ORDER BY key_id
        ON CONFLICT (key_id) DO UPDATE SET last_used_at = greatest(old.last_used_at, excluded.last_used_at)
    """,
)
