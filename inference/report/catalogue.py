"""The items as the catalogue knew them at the end of the period."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import polars as pl

from inference.inputs import Item, evolve_item
from schemas.catalog import CatalogEvent, ItemAdded, ItemChanged
from schemas.contracts import contracts
from schemas.envelope import Recorded


@dataclass
class Catalogue:
    """The fold of `catalog`: small beside what happens to the items."""

    items: dict[str, Item] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)

    async def hear_all(self, events: AsyncIterator[Recorded]) -> "Catalogue":
        """Fold all of the topic."""
        async for one in events:
            if not contracts()[one.event.AVRO].is_outcome:
                self._hear(one.event)
        return self

    def _hear(self, event: CatalogEvent) -> None:
        self.items[event.item_id] = evolve_item(self.items.get(event.item_id, Item()), event)
        if isinstance(event, ItemAdded | ItemChanged) and event.title is not None:
            self.titles[event.item_id] = event.title

    @property
    def on_offer(self) -> int:
        """Items that are not retired."""
        return sum(not item.retired for item in self.items.values())

    def categories(self) -> pl.DataFrame:
        """One row for each category of an item."""
        rows = [(name, category) for name, item in self.items.items() for category in sorted(item.categories)]
        return pl.DataFrame(rows, schema={"item_id": pl.String, "category": pl.String}, orient="row")

    def by_category(self, counts: "dict[str, int]") -> dict[str, int]:
        """Counts by item as counts by category; an item with several counts for each."""
        found: dict[str, int] = {}
        for name, count in counts.items():
            item = self.items.get(name)
            for category in item.categories if item and item.categories else ("without a category",):
                found[category] = found.get(category, 0) + count
        return dict(sorted(found.items()))
