"""Every recommendation that was served, for search by whom, what, when and why."""

from projections.view import Change, Index, Put
from schemas.decisions import RecommendationServed
from schemas.envelope import Meta
from schemas.position import Position

MAPPING = {
    "dynamic": False,
    "properties": {
        "decision_id": {"type": "keyword"},
        "user_id": {"type": "keyword"},
        "model": {"type": "keyword"},
        "version": {"type": "integer"},
        "artifact_sha256": {"type": "keyword"},
        "deployment_id": {"type": "keyword"},
        "source": {"type": "keyword"},
        "fallback_reason": {"type": "text"},
        "arm": {"type": "keyword"},
        "items": {"type": "keyword"},
        "latency_ms": {"type": "float"},
        "server": {"type": "keyword"},
        "served_at": {"type": "date"},
        "position": {"type": "keyword"},
    },
}


FIELDS = (
    "decision_id",
    "user_id",
    "model",
    "version",
    "artifact_sha256",
    "deployment_id",
    "source",
    "fallback_reason",
    "arm",
    "latency_ms",
    "server",
)


def document(event: RecommendationServed, _meta: Meta, position: Position) -> Change:
    """One document for each decision; the scores stay in PostgreSQL."""
    fields = {name: getattr(event, name) for name in FIELDS}
    fields |= {
        "items": [item.item_id for item in event.items],
        "served_at": event.served_at.isoformat(),
        "position": str(position),
    }
    return Put(event.decision_id, fields)


INDEX = Index(
    name="decisions_search",
    version=1,
    reads=(RecommendationServed,),
    mapping=MAPPING,
    document=document,
    personal="user_id",
)
