"""An item of the catalogue: added once, changed, retired for good."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never

from commands.aggregate import Aggregate
from schemas.catalog import (
    AddItem,
    CatalogCommand,
    CatalogEvent,
    ChangeItem,
    ItemAdded,
    ItemChanged,
    ItemRetired,
    RetireItem,
)
from schemas.envelope import Meta
from schemas.errors import NotFound, Rejected


@dataclass(frozen=True, slots=True)
class Item:
    """What later rules depend on.

    Attributes:
        added: whether the item is known.
        retired: whether it has left the catalogue.
        title: as the catalogue shows it; so are the fields below.
    """

    added: bool = False
    retired: bool = False
    title: str = ""
    description: str | None = None
    categories: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)


def decide(state: Item, command: CatalogCommand, _meta: Meta) -> Sequence[CatalogEvent]:
    """What a command leads to.

    Raises:
        Rejected: the item exists already, or has left the catalogue.
        NotFound: there is no such item.
    """
    match command:
        case AddItem(item_id=item_id):
            if state.added:
                raise Rejected(
                    f"item '{item_id}' exists already: change it (PATCH /items/{item_id}) or choose another id",
                    code="item_exists",
                )
            return [
                ItemAdded(
                    item_id=item_id,
                    title=command.title,
                    description=command.description,
                    categories=command.categories,
                    attributes=command.attributes,
                )
            ]
        case ChangeItem(item_id=item_id):
            _known(state, item_id)
            if state.retired:
                raise Rejected(
                    f"item '{item_id}' is retired and stays as it was: add a new item instead", code="item_retired"
                )
            changed = _difference(state, command)
            return [] if changed == ItemChanged(item_id=item_id) else [changed]
        case RetireItem(item_id=item_id, reason=reason):
            _known(state, item_id)
            return [] if state.retired else [ItemRetired(item_id=item_id, reason=reason)]
        case _:
            assert_never(command)


def _known(state: Item, item_id: str) -> None:
    if not state.added:
        raise NotFound(f"no item '{item_id}' in the catalogue: add it first (POST /items)", code="unknown_item")


def _difference(state: Item, command: ChangeItem) -> ItemChanged:
    """Only what is really different, so that an event says what changed."""
    return ItemChanged(
        item_id=command.item_id,
        title=None if command.title == state.title else command.title,
        description=None if command.description == state.description else command.description,
        categories=None if command.categories == state.categories else command.categories,
        attributes=None if command.attributes == state.attributes else command.attributes,
    )


def evolve(state: Item, event: CatalogEvent) -> Item:
    """The state after an event."""
    match event:
        case ItemAdded():
            return Item(True, False, event.title, event.description, event.categories, event.attributes)
        case ItemChanged():
            return replace(
                state,
                title=state.title if event.title is None else event.title,
                description=state.description if event.description is None else event.description,
                categories=state.categories if event.categories is None else event.categories,
                attributes=state.attributes if event.attributes is None else event.attributes,
            )
        case ItemRetired():
            return replace(state, retired=True)
        case _:
            assert_never(event)


AGGREGATE = Aggregate("item", "catalog", Item(), decide, evolve)
