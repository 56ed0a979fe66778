"""Where the events of a key stand, so that an explanation need not read whole partitions.

A signature file: for each offset the CRC-32 of its event's key, 128 offsets to a row. That is 4 bytes an event and one
row for many of them, where an entry for each event in a tree would cost as much as the read models together. Who looks
for a key reads the signatures of its partition (10 MB for 2.5 million events), and then those records of the log whose
signature is the key's: the index only says where to look.

It also says where it has nothing to say. An offset without an event of ours (void, of another tenant, parked, not
folded yet) has the signature 0; so a reader knows what it has not been told, looks that up in the log, and misses
nothing. A key whose CRC is 0 is looked up every time, too.

Merging by OR makes the result independent of how the log is cut, and of what comes first.

Source: C. Faloutsos and S. Christodoulakis, Signature Files: An Access Method for Documents and Its Analytical
Performance Evaluation, ACM TOIS 1984.
"""

from projections.view import View
from schemas.codec import class_of
from schemas.contracts import contracts

TOPICS = ("catalog", "interactions", "profiles")
"""What an explanation is folded from."""

VIEW = View(
    name="event_index",
    version=1,
    reads=tuple(
        class_of(contract)
        for contract in contracts().values()
        if contract.kind == "event" and not contract.is_retired and (contract.is_outcome or contract.topic in TOPICS)
    ),
    table="""
        topic text NOT NULL, partition int NOT NULL, block bigint NOT NULL, signatures bit(4096) NOT NULL,
        PRIMARY KEY (topic, partition, block)
    """,
    batch='topic text, partition int, "offset" bigint, key text',
    apply="""
        INSERT INTO {table} AS old (topic, partition, block, signatures)
        SELECT topic, partition, "offset" / 128,
            bit_or(crc32(convert_to(key, 'UTF8'))::bit(32)::bit(4096) >> (32 * ("offset" % 128))::int)
        FROM batch WHERE topic IN ('catalog', 'interactions', 'profiles')
        GROUP BY topic, partition, "offset" / 128 ORDER BY topic, partition, "offset" / 128
        ON CONFLICT (topic, partition, block) DO UPDATE SET signatures = old.signatures | excluded.signatures
    """,
)
