"""The items that can be recommended, for search by text and by category."""

from projections.view import Change, Index, Put
from schemas.catalog import CatalogEvent, ItemAdded, ItemChanged, ItemRetired
from schemas.envelope import Meta
from schemas.position import Position

MAPPING = {
    "dynamic": False,
    "properties": {
        "item_id": {"type": "keyword"},
        "title": {"type": "text"},
        "description": {"type": "text"},
        "categories": {"type": "keyword", "fields": {"text": {"type": "text"}}},
        "attributes": {"type": "object", "enabled": False},
        "retired": {"type": "boolean"},
    },
}


def document(event: CatalogEvent, _meta: Meta, _position: Position) -> Change:
    """A retired item keeps its document, so that an audit finds it; a search leaves it out."""
    match event:
        case ItemAdded():
            fields = {name: getattr(event, name) for name in ("item_id", "title", "description")}
            kept = {"categories": list(event.categories), "attributes": dict(event.attributes), "retired": False}
            return Put(event.item_id, fields | kept)
        case ItemChanged():
            changed = {
                "title": event.title,
                "description": event.description,
                "categories": None if event.categories is None else list(event.categories),
                "attributes": None if event.attributes is None else dict(event.attributes),
            }
            return Put(event.item_id, {name: value for name, value in changed.items() if value is not None})
        case ItemRetired():
            return Put(event.item_id, {"item_id": event.item_id, "retired": True})


INDEX = Index(
    name="catalogue_search",
    version=1,
    reads=(ItemAdded, ItemChanged, ItemRetired),
    mapping=MAPPING,
    document=document,
    merges=True,
)
