"""Where the interactions with an item stand: what `event_index` is for keys, which are users.

Four bytes an event, as there; asked for by lineage, so that "which models saw this item" need not read the whole log.
"""

from projections.view import View
from schemas.interactions import InteractionRecorded

VIEW = View(
    name="item_index",
    version=1,
    reads=(InteractionRecorded,),
    table="""
        topic text NOT NULL, partition int NOT NULL, block bigint NOT NULL, signatures bit(4096) NOT NULL,
        PRIMARY KEY (topic, partition, block)
    """,
    batch='topic text, partition int, "offset" bigint, item_id text',
    apply="""
        INSERT INTO {table} AS old (topic, partition, block, signatures)
        SELECT topic, partition, "offset" / 128,
            bit_or(crc32(convert_to(item_id, 'UTF8'))::bit(32)::bit(4096) >> (32 * ("offset" % 128))::int)
        FROM batch GROUP BY topic, partition, "offset" / 128 ORDER BY topic, partition, "offset" / 128
        ON CONFLICT (topic, partition, block) DO UPDATE SET signatures = old.signatures | excluded.signatures
    """,
)
