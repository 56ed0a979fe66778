"""Every interaction of a user, by the time it happened.

Audits look for others too: by id, by item, within a time. Block range indexes serve them, because they cost next to
nothing while events come in by the thousands; trees over the same columns would halve what is taken in.
"""

from projections.view import View
from schemas.interactions import InteractionRecorded

VIEW = View(
    name="user_history",
    version=1,
    reads=(InteractionRecorded,),
    table="""
        user_id text NOT NULL, item_id text NOT NULL, kind text NOT NULL, value float8,
        occurred_at timestamptz NOT NULL, decision_id text, event_id uuid NOT NULL,
        partition int NOT NULL, "offset" bigint NOT NULL, PRIMARY KEY (user_id, occurred_at, "offset")
    """,
    batch="""
        user_id text, item_id text, kind text, value float8, occurred_at timestamptz, decision_id text, event_id uuid,
        partition int, "offset" bigint
    """,
    apply="""
        INSERT INTO {table} (user_id, item_id, kind, value, occurred_at, decision_id, event_id, partition, "offset")
        SELECT user_id, item_id, kind, value, occurred_at, decision_id, event_id, partition, "offset" FROM batch
        ON CONFLICT DO NOTHING
    """,
    indexes=(
        "(decision_id) WHERE decision_id IS NOT NULL",
        "USING brin (occurred_at) WITH (autosummarize=on)",
        "USING brin (event_id uuid_bloom_ops (n_distinct_per_range=-1)) WITH (pages_per_range=8, autosummarize=on)",
        "USING brin (item_id text_bloom_ops) WITH (pages_per_range=16, autosummarize=on)",
    ),
    deduplicate=True,
    personal="user_id",
)
