"""What each user told us and allows us."""

from projections.view import View
from schemas.profiles import ConsentGiven, ConsentWithdrawn, PreferencesChanged, UserRegistered

VIEW = View(
    name="user_profile",
    version=1,
    reads=(UserRegistered, PreferencesChanged, ConsentGiven, ConsentWithdrawn),
    table="""
        user_id text PRIMARY KEY, name text, attributes jsonb NOT NULL DEFAULT '{}',
        favourite_categories text[] NOT NULL DEFAULT '{}', hidden_categories text[] NOT NULL DEFAULT '{}',
        language text,
        personalisation bool NOT NULL DEFAULT true, training bool NOT NULL DEFAULT true,
        registered_at timestamptz, version bigint NOT NULL
    """,
    batch="""
        event text, user_id text, name text, attributes jsonb, favourite_categories text[], hidden_categories text[],
        language text, purpose text, time timestamptz, "offset" bigint
    """,
    apply="""
        WITH touched AS (
            SELECT user_id, count(*) AS events FROM batch GROUP BY user_id
        ), registered AS (
            SELECT DISTINCT ON (user_id) * FROM batch WHERE event = 'UserRegistered' ORDER BY user_id, "offset" DESC
        ), preferred AS (
            SELECT DISTINCT ON (user_id) * FROM batch WHERE event = 'PreferencesChanged' ORDER BY user_id, "offset" DESC
        ), consented AS (
            SELECT DISTINCT ON (user_id, purpose) user_id, purpose, event = 'ConsentGiven' AS given
            FROM batch WHERE purpose IS NOT NULL ORDER BY user_id, purpose, "offset" DESC
        )
        INSERT INTO {table} AS t (user_id, name, attributes, favourite_categories, hidden_categories, language,
                                  personalisation, training, registered_at, version)
        SELECT
            touched.user_id,
            CASE WHEN r.user_id IS NULL THEN old.name ELSE r.name END,
            coalesce(r.attributes, old.attributes, '{}'),
            coalesce(p.favourite_categories, old.favourite_categories, '{}'),
            coalesce(p.hidden_categories, old.hidden_categories, '{}'),
            CASE WHEN p.user_id IS NULL THEN old.language ELSE p.language END,
            coalesce(personal.given, old.personalisation, true),
            coalesce(training.given, old.training, true),
            coalesce(r.time, old.registered_at),
            coalesce(old.version, 0) + touched.events
        FROM touched
            LEFT JOIN {table} old USING (user_id)
            LEFT JOIN registered r USING (user_id)
            LEFT JOIN preferred p USING (user_id)
            LEFT JOIN consented personal ON personal.user_id = touched.user_id AND personal.purpose = 'personalisation'
            LEFT JOIN consented training ON training.user_id = touched.user_id AND training.purpose = 'training'
        ON CONFLICT (user_id) DO UPDATE SET
            name = excluded.name, attributes = excluded.attributes,
            favourite_categories = excluded.favourite_categories, hidden_categories = excluded.hidden_categories,
            language = excluded.language, personalisation = excluded.personalisation, training = excluded.training,
            registered_at = excluded.registered_at, version = excluded.version
    """,
    personal="user_id",
)
