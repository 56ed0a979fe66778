"""Generated from schemas/avro/catalog; change those files and run `python -m schemas.generate`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class AddItem:
    """Put an item into the catalogue.

    Attributes:
        item_id: Which item.
        title: Name shown to people.
        description: Longer text.
        categories: Categories, most specific first.
        attributes: Further facts, by name.
    """

    AVRO: ClassVar[str] = "retrace.catalog.AddItem"

    item_id: str
    title: str
    description: str | None = None
    categories: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeItem:
    """Change an item; what is null stays.

    Attributes:
        item_id: Which item.
        title: New name; null leaves it.
        description: New text; null leaves it.
        categories: New categories; null leaves them.
        attributes: New attributes; null leaves them.
    """

    AVRO: ClassVar[str] = "retrace.catalog.ChangeItem"

    item_id: str
    title: str | None = None
    description: str | None = None
    categories: tuple[str, ...] | None = None
    attributes: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemAdded:
    """An item came into the catalogue.

    Attributes:
        item_id: Which item.
        title: Name shown to people.
        description: Longer text.
        categories: Categories, most specific first.
        attributes: Further facts, by name.
    """

    AVRO: ClassVar[str] = "retrace.catalog.ItemAdded"

    item_id: str
    title: str
    description: str | None = None
    categories: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemChanged:
    """An item was changed; what is null stayed.

    Attributes:
        item_id: Which item.
        title: New name; null leaves it.
        description: New text; null leaves it.
        categories: New categories; null leaves them.
        attributes: New attributes; null leaves them.
    """

    AVRO: ClassVar[str] = "retrace.catalog.ItemChanged"

    item_id: str
    title: str | None = None
    description: str | None = None
    categories: tuple[str, ...] | None = None
    attributes: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRetired:
    """An item left the catalogue.

    Attributes:
        item_id: Which item.
        reason: Why.
    """

    AVRO: ClassVar[str] = "retrace.catalog.ItemRetired"

    item_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetireItem:
    """Take an item out of the catalogue; it is never recommended again.

    Attributes:
        item_id: Which item.
        reason: Why.
    """

    AVRO: ClassVar[str] = "retrace.catalog.RetireItem"

    item_id: str
    reason: str = ""


CatalogEvent: TypeAlias = ItemAdded | ItemChanged | ItemRetired

CatalogCommand: TypeAlias = AddItem | ChangeItem | RetireItem
