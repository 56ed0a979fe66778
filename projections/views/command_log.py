"""What became of every command that needed a decision.

An ordinary event answers the command that caused it, as an outcome does; so this reads every decided event. Its `type`
is the command's where an outcome names it, else that of the last event it led to. A command that is sent again under
the same id has a row for each time; the first one is the answer.
"""

from projections.view import View
from schemas.codec import class_of
from schemas.contracts import contracts
from schemas.topics import DECIDED

VIEW = View(
    name="command_log",
    version=1,
    reads=tuple(
        class_of(contract)
        for contract in contracts().values()
        if contract.kind == "event" and not contract.is_retired and (contract.is_outcome or contract.topic in DECIDED)
    ),
    table="""
        command_id text NOT NULL, topic text NOT NULL, partition int NOT NULL, "offset" bigint NOT NULL,
        command_offset bigint NOT NULL, type text NOT NULL, aggregate_id text NOT NULL, actor text NOT NULL,
        tenant text NOT NULL, outcome text NOT NULL, status int NOT NULL, code text, detail text,
        version bigint NOT NULL, answered_at timestamptz NOT NULL, PRIMARY KEY (topic, partition, command_offset)
    """,
    batch="""
        event text, event_type text, topic text, partition int, "offset" bigint, key text, time timestamptz, actor text,
        tenant text, causation_id text, command_offset bigint, command_id text, command_type text, status int,
        code text, detail text, version bigint
    """,
    apply="""
        WITH known AS (
            SELECT topic, aggregate_id AS key, max(version) AS version FROM {table}
            WHERE (topic, aggregate_id) IN (SELECT topic, key FROM batch) AND outcome <> 'repeated'
            GROUP BY topic, aggregate_id
        ), judged AS (
            SELECT b.*, CASE event WHEN 'CommandRejected' THEN 'rejected' WHEN 'CommandRepeated' THEN 'repeated'
                ELSE 'accepted' END AS outcome,
                coalesce(known.version, 0) + count(*) FILTER (
                    WHERE event NOT IN ('CommandAccepted', 'CommandRejected', 'CommandRepeated')
                ) OVER (PARTITION BY b.topic, b.key ORDER BY b."offset") AS reached
            FROM batch b LEFT JOIN known USING (topic, key)
        )
        INSERT INTO {table} AS t (command_id, topic, partition, "offset", command_offset, type, aggregate_id, actor,
                                  tenant, outcome, status, code, detail, version, answered_at)
        SELECT DISTINCT ON (topic, partition, command_offset)
            coalesce(command_id, causation_id), topic, partition, "offset", command_offset,
            coalesce(command_type, event_type), key, actor, tenant, outcome, coalesce(status, 200), code, detail,
            CASE event WHEN 'CommandRepeated' THEN version ELSE reached END, time
        FROM judged ORDER BY topic, partition, command_offset, "offset" DESC
        ON CONFLICT (topic, partition, command_offset) DO UPDATE SET
            "offset" = excluded."offset", type = excluded.type, version = excluded.version,
            answered_at = excluded.answered_at
    """,
    indexes=("(command_id)", "(topic, aggregate_id, version)"),
)
