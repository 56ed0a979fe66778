"""Every interaction of a user, by the time it happened."""

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
    indexes=("(decision_id) WHERE decision_id IS NOT NULL",),
    deduplicate=True,
    personal="user_id",
)
