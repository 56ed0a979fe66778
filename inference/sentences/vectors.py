"""Which items need a vector: a fold of the catalogue and of the vectors that are on the log already."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from schemas.catalog import ItemAdded, ItemChanged, ItemRetired
from schemas.embeddings import ItemEmbedded
from schemas.envelope import Meta


@dataclass(frozen=True, slots=True)
class Job:
    """A text that needs a vector.

    Attributes:
        text: what the sentence model reads.
        cause: what the event that gave the item this text says of itself.
    """

    item_id: str
    text: str
    cause: Meta

    @property
    def text_sha256(self) -> str:
        """Hash of the text."""
        return sha256_of(self.text)


@dataclass(frozen=True, slots=True)
class Said:
    """What an item says of itself."""

    title: str
    description: str
    categories: tuple[str, ...]

    @property
    def text(self) -> str:
        """What the sentence model reads."""
        return ". ".join(part for part in (self.title, self.description, ", ".join(self.categories)) if part)


@dataclass
class Vectors:
    """What is known of the items; hearing an event twice, or a vector before its item, does no harm.

    Attributes:
        model_sha256: the model whose vectors count.
    """

    model_sha256: str
    _said: dict[str, Said] = field(default_factory=dict)
    _embedded: dict[str, str] = field(default_factory=dict)
    _due: dict[str, Meta] = field(default_factory=dict)

    def __len__(self) -> int:
        """Items that need a vector."""
        return len(self._due)

    def hear(self, event: Any, meta: Meta) -> None:
        """Fold one event."""
        match event:
            case ItemAdded(item_id=item_id):
                self._says(item_id, Said(event.title, event.description or "", event.categories), meta)
            case ItemChanged(item_id=item_id) if item_id in self._said:
                self._says(item_id, _changed(self._said[item_id], event), meta)
            case ItemRetired(item_id=item_id):
                self._said.pop(item_id, None)
                self._due.pop(item_id, None)
            case ItemEmbedded(item_id=item_id, model_sha256=model, text_sha256=text) if model == self.model_sha256:
                self._embedded[item_id] = text
                self._settle(item_id)
            case _:
                pass  # facts of the catalogue that say nothing of a text

    def due(self, most: int) -> list[Job]:
        """The next items that need a vector, those that have waited longest first."""
        return list(islice(self._jobs(), most))

    def _says(self, item_id: str, said: Said, meta: Meta) -> None:
        self._said[item_id] = said
        self._due[item_id] = meta
        self._settle(item_id)

    def _settle(self, item_id: str) -> None:
        said = self._said.get(item_id)
        if said is not None and self._embedded.get(item_id) == sha256_of(said.text):
            self._due.pop(item_id, None)

    def _jobs(self) -> Iterator[Job]:
        return (Job(item_id, self._said[item_id].text, meta) for item_id, meta in self._due.items())


def _changed(said: Said, event: ItemChanged) -> Said:
    return Said(
        title=said.title if event.title is None else event.title,
        description=said.description if event.description is None else event.description,
        categories=said.categories if event.categories is None else event.categories,
    )


def sha256_of(text: str) -> str:
    """Hash of a text."""
    return hashlib.sha256(text.encode()).hexdigest()
