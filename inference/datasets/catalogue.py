"""Which items have a category, as the catalogue says where its ranges end."""

from collections.abc import Collection, Sequence

import polars as pl

from infra.kafka.records import Decoder
from infra.kafka.replay import replay
from infra.settings import Settings
from schemas.catalog import ItemAdded, ItemChanged
from schemas.errors import Invalid
from schemas.models import OffsetRange


async def items_of(
    settings: Settings, decoder: Decoder, ranges: Sequence[OffsetRange], categories: Collection[str]
) -> set[str]:
    """The items that have one of these categories at the end of these ranges of `catalog`; retired ones as well.

    Raises:
        Invalid: no item has any of them.
        Incompatible, Unavailable: as `infra.kafka.replay.replay`.
    """
    if not categories:
        return set()
    said: list[pl.DataFrame] = []
    async for tables in replay(settings, decoder, ranges, types={ItemAdded.AVRO, ItemChanged.AVRO}):
        said += [table.select("_partition", "_offset", "item_id", "categories") for table in tables.values()]
    found = having(pl.concat(said), categories) if said else set()
    if not found:
        raise Invalid(
            f"no item of the catalogue has the category {' or '.join(sorted(categories))}: "
            "`GET /items/search` lists categories as facets",
            code="unknown_category",
        )
    return found


def having(said: pl.DataFrame, categories: Collection[str]) -> set[str]:
    """The items whose last categories hold one of these; null leaves them as they were."""
    spoken = said.filter(pl.col("categories").is_not_null()).sort("_partition", "_offset")
    last = spoken.group_by("item_id").agg(pl.col("categories").last())
    holds = pl.col("categories").list.set_intersection(pl.lit(sorted(categories))).list.len() > 0
    return set(last.filter(holds)["item_id"])
