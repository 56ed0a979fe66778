"""The items that can be recommended, for search by words, by category and attribute, and by meaning.

A document is made of two topics: what the item is (`catalog`), and the vector of its text (`embeddings`). The vector
stands in the same document because a search by meaning has to be filtered by what the item is.
"""

from projections.search.words import beginnings, folded
from projections.view import Change, Index, Put
from schemas.catalog import CatalogEvent, ItemAdded, ItemChanged, ItemRetired
from schemas.embeddings import ItemEmbedded
from schemas.envelope import Meta
from schemas.position import Position

DIMENSIONS = 384
"""Of the vectors; a model with others takes the next version of this index."""

SHOWN = {"type": "text", "index": False}
WORDS = {"type": "text", "copy_to": "words"}

MAPPING = {
    "dynamic": False,
    "properties": {
        "item_id": {"type": "keyword"},
        "title": SHOWN,
        "description": SHOWN,
        "title_words": WORDS,
        "description_words": WORDS,
        "category_words": WORDS,
        "words": {"type": "text"},
        "suggest": {"type": "completion", "analyzer": "standard"},
        "categories": {"type": "keyword"},
        "attributes": {"type": "flattened", "ignore_above": 1000},
        "attribute_names": {"type": "keyword"},
        "retired": {"type": "boolean"},
        "place": {"type": "keyword"},
        "vector": {
            "type": "dense_vector",
            "dims": DIMENSIONS,
            "index": True,
            "similarity": "dot_product",  # of vectors of length 1: their cosine, and kept bit by bit
            "index_options": {"type": "int8_hnsw"},
        },
        "vector_model": {"type": "keyword"},
    },
}


def document(event: CatalogEvent | ItemEmbedded, _meta: Meta, position: Position) -> Change:
    """A retired item keeps its document, so that an audit finds it; a search leaves it out."""
    match event:
        case ItemAdded():
            # The place of its first event is a short name that never changes: cursors hold it.
            fields = {"item_id": event.item_id, "retired": False, "place": f"{position.partition}/{position.offset}"}
            return Put(event.item_id, fields | _described(event) | {"description": event.description})
        case ItemChanged():
            return Put(event.item_id, _described(event))
        case ItemRetired():
            return Put(event.item_id, {"item_id": event.item_id, "retired": True, "suggest": None})
        case ItemEmbedded():
            return Put(event.item_id, {"vector": list(event.vector), "vector_model": event.model_sha256})


def _described(event: ItemAdded | ItemChanged) -> dict[str, object]:
    """What an event says of an item; what is null stays as it was."""
    fields: dict[str, object] = {}
    if event.title is not None:
        title = {
            "title": event.title,
            "title_words": folded(event.title),
            "suggest": [*beginnings(event.title)] or None,
        }
        fields |= title
    if event.description is not None:
        fields |= {"description": event.description, "description_words": folded(event.description)}
    if event.categories is not None:
        fields |= {"categories": list(event.categories), "category_words": [folded(one) for one in event.categories]}
    if event.attributes is not None:
        fields |= {"attributes": dict(event.attributes), "attribute_names": sorted(event.attributes)}
    return fields


INDEX = Index(
    name="catalogue_search",
    version=2,
    reads=(ItemAdded, ItemChanged, ItemRetired, ItemEmbedded),
    mapping=MAPPING,
    document=document,
    merges=True,
)
