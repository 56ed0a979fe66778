"""How often each item was met, by anybody, ever."""

from projections.view import View
from schemas.interactions import InteractionRecorded

VIEW = View(
    name="popularity",
    version=1,
    reads=(InteractionRecorded,),
    table="item_id text PRIMARY KEY, interactions bigint NOT NULL, last_at timestamptz NOT NULL",
    batch="item_id text, occurred_at timestamptz",
    apply="""
        INSERT INTO {table} AS old (item_id, interactions, last_at)
        SELECT item_id, count(*), max(occurred_at) FROM batch GROUP BY item_id ORDER BY item_id
        ON CONFLICT (item_id) DO UPDATE SET
            interactions = old.interactions + excluded.interactions,
            last_at = greatest(old.last_at, excluded.last_at)
    """,
    indexes=("(interactions DESC, item_id)",),
    deduplicate=True,
)
