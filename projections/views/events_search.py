"""Every event of the decided topics, for audits: whom and what it is about, who caused it, when, and where it stands.

What an event says is not indexed, and so neither is anything personal: who found an event reads it in the log. Facts
that come by the thousands in a second are not here either: interactions are found in `user_history`, decisions in
`decisions_search`.
"""

from typing import Any

from projections.view import Change, Index, Put
from schemas.codec import class_of
from schemas.contracts import contracts
from schemas.envelope import Meta
from schemas.position import Position
from schemas.topics import DECIDED

ABOUT = ("user_id", "item_id", "model")
NAMED = ("id", "type", "topic", "key", "actor", "tenant", "correlation_id", "causation_id")
"""Searched by their exact value."""

MAPPING: dict[str, Any] = {
    "dynamic": False,
    "properties": {
        **{name: {"type": "keyword"} for name in (*NAMED, *ABOUT)},
        "time": {"type": "date_nanos"},
        "partition": {"type": "integer"},
        "offset": {"type": "long"},
    },
}

SUBJECTS = {c.topic: c.key for c in contracts().values() if c.kind == "event" and c.key in ABOUT}
"""What the record key of a topic names, where it is one of those."""


def document(event: Any, meta: Meta, position: Position) -> Change:
    """One document for each event."""
    about = {name: getattr(event, name, None) for name in ABOUT}
    if (subject := SUBJECTS.get(position.topic)) is not None:
        about[subject] = meta.subject  # an outcome names its aggregate there alone
    fields = {
        "id": str(meta.id),
        "type": meta.type,
        "topic": position.topic,
        "partition": position.partition,
        "offset": position.offset,
        "key": meta.subject,
        "actor": meta.actor,
        "tenant": meta.tenant,
        "time": meta.time.isoformat(),
        "correlation_id": meta.correlation_id or None,
        "causation_id": meta.causation_id or None,
    }
    return Put(str(position), fields | about)


INDEX = Index(
    name="events_search",
    version=1,
    reads=tuple(
        class_of(contract)
        for contract in contracts().values()
        if contract.kind == "event" and not contract.is_retired and (contract.is_outcome or contract.topic in DECIDED)
    ),
    mapping=MAPPING,
    document=document,
)
