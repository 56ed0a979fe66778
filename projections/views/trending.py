"""The newest window that was measured for each item."""

from projections.view import View
from schemas.features import ItemTrendMeasured

VIEW = View(
    name="trending",
    version=1,
    reads=(ItemTrendMeasured,),
    table="""
        item_id text PRIMARY KEY, window_start timestamptz NOT NULL, window_end timestamptz NOT NULL,
        interactions bigint NOT NULL, score float8 NOT NULL
    """,
    batch="""
        item_id text, window_start timestamptz, window_end timestamptz, interactions bigint, score float8,
        "offset" bigint
    """,
    # A window that is measured again (a late event, a restart) replaces its earlier measurement.
    apply="""
        INSERT INTO {table} AS old (item_id, window_start, window_end, interactions, score)
        SELECT DISTINCT ON (item_id) item_id, window_start, window_end, interactions, score
        FROM batch ORDER BY item_id, window_end DESC, "offset" DESC
        ON CONFLICT (item_id) DO UPDATE SET
            window_start = excluded.window_start, window_end = excluded.window_end,
            interactions = excluded.interactions, score = excluded.score
        WHERE excluded.window_end >= old.window_end
    """,
    indexes=("(window_end)",),
)
