"""Generated from schemas/avro/embeddings; change those files and run `python -m schemas.generate`."""

from dataclasses import dataclass
from typing import ClassVar, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemEmbedded:
    """The text of an item was turned into a vector, so that the item is found by its meaning.

    Attributes:
        item_id: Which item.
        model: Name of the sentence model.
        model_sha256: SHA-256 of the sentence model's ONNX file; vectors of different models cannot be compared.
        text_sha256: SHA-256 of the text, in UTF-8.
        vector: The vector, of length 1: the cosine of two of them says how close their texts are.
    """

    AVRO: ClassVar[str] = "retrace.embeddings.ItemEmbedded"

    item_id: str
    model: str
    model_sha256: str
    text_sha256: str
    vector: tuple[float, ...]


EmbeddingsEvent: TypeAlias = ItemEmbedded
