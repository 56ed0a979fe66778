"""The items as they are now."""

from projections.view import View
from schemas.catalog import ItemAdded, ItemChanged, ItemRetired

VIEW = View(
    name="catalogue",
    version=1,
    reads=(ItemAdded, ItemChanged, ItemRetired),
    table="""
        item_id text PRIMARY KEY, title text, description text, categories text[] NOT NULL DEFAULT '{}',
        attributes jsonb NOT NULL DEFAULT '{}', retired bool NOT NULL DEFAULT false, version bigint NOT NULL
    """,
    batch="""
        event text, item_id text, title text, description text, categories text[], attributes jsonb, "offset" bigint
    """,
    # An addition sets every field; a change sets those that it does not leave null.
    apply="""
        WITH touched AS (
            SELECT item_id, count(*) AS events FROM batch GROUP BY item_id
        ), titled AS (
            SELECT DISTINCT ON (item_id) item_id, title FROM batch
            WHERE title IS NOT NULL ORDER BY item_id, "offset" DESC
        ), described AS (
            SELECT DISTINCT ON (item_id) item_id, description FROM batch
            WHERE event = 'ItemAdded' OR description IS NOT NULL ORDER BY item_id, "offset" DESC
        ), sorted AS (
            SELECT DISTINCT ON (item_id) item_id, categories FROM batch
            WHERE categories IS NOT NULL ORDER BY item_id, "offset" DESC
        ), attributed AS (
            SELECT DISTINCT ON (item_id) item_id, attributes FROM batch
            WHERE attributes IS NOT NULL ORDER BY item_id, "offset" DESC
        ), listed AS (
            SELECT DISTINCT ON (item_id) item_id, event = 'ItemRetired' AS retired FROM batch
            WHERE event IN ('ItemAdded', 'ItemRetired') ORDER BY item_id, "offset" DESC
        )
        INSERT INTO {table} AS t (item_id, title, description, categories, attributes, retired, version)
        SELECT
            touched.item_id,
            coalesce(titled.title, old.title),
            CASE WHEN d.item_id IS NULL THEN old.description ELSE d.description END,
            coalesce(sorted.categories, old.categories, '{}'),
            coalesce(attributed.attributes, old.attributes, '{}'),
            coalesce(listed.retired, old.retired, false),
            coalesce(old.version, 0) + touched.events
        FROM touched
            LEFT JOIN {table} old USING (item_id)
            LEFT JOIN titled USING (item_id)
            LEFT JOIN described d USING (item_id)
            LEFT JOIN sorted USING (item_id)
            LEFT JOIN attributed USING (item_id)
            LEFT JOIN listed USING (item_id)
        ON CONFLICT (item_id) DO UPDATE SET
            title = excluded.title, description = excluded.description, categories = excluded.categories,
            attributes = excluded.attributes, retired = excluded.retired, version = excluded.version
    """,
    indexes=("USING gin (categories)",),
)
