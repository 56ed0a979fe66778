"""The rows of a manifest as Spark finds them: the same as `inference.datasets.dataset` gives, by other means.

Nothing here is shared with the way that polars goes, except what a filter is called and what the columns are; so that
both give one hash says something about both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as fn

from inference.datasets.filters import Filters
from inference.datasets.manifest import COLUMNS, Manifest
from inference.spark.log import PLACE, Log
from infra.kafka.ranges import ranges_now
from schemas.catalog import ItemAdded, ItemChanged
from schemas.identity import CLIENT_CHOSEN, VERSION_AT
from schemas.interactions import InteractionRecorded
from schemas.models import OffsetRange
from schemas.profiles import ConsentGiven, ConsentWithdrawn, UserErased


@dataclass(frozen=True)
class Rows:
    """Makes the rows of a manifest.

    Args:
        log: where from.
    """

    log: Log
    manifest: Manifest

    async def table(self) -> DataFrame:
        """The rows, with the columns of `COLUMNS`, in the order of the log.

        Raises:
            Incompatible, Unavailable: as `Log.events`.
        """
        events = await self.log.events(self._parts("interactions"), {InteractionRecorded.AVRO})
        if InteractionRecorded.AVRO not in events:
            return self.log.spark.createDataFrame([], _ddl())
        first = _first(events[InteractionRecorded.AVRO])
        spoken = first.filter(~fn.col("kind").isin(list(self.manifest.silent_kinds)))
        asked = spoken.filter(kept(self.manifest.filters))
        if self.manifest.filters.categories:
            asked = asked.join(fn.broadcast(await self._of_categories()), "item_id", "left_semi")
        for unused in (await self._withdrawn(), await self._erased()):
            asked = asked.join(fn.broadcast(unused), "user_id", "left_anti")
        thick = core(asked.withColumn("_topic", fn.lit("interactions")).select(*COLUMNS), self.manifest.filters)
        return thick.sort(*PLACE)

    def _parts(self, topic: str) -> Sequence[OffsetRange]:
        return [part for part in self.manifest.ranges if part.topic == topic]

    async def _withdrawn(self) -> DataFrame:
        """Users whose last word on training is no."""
        said = await self.log.events(self._parts("profiles"), {ConsentGiven.AVRO, ConsentWithdrawn.AVRO})
        words = [
            table.filter("purpose = 'training'").select(
                *PLACE, "user_id", fn.lit(name == ConsentGiven.AVRO).alias("given")
            )
            for name, table in said.items()
        ]
        whole = self._union(words, "_partition int, _offset long, user_id string, given boolean")
        last = whole.groupBy("user_id").agg(fn.max_by("given", fn.struct(*PLACE)).alias("given"))
        return last.filter("NOT given").select("user_id")

    async def _erased(self) -> DataFrame:
        """Users who have been erased by now, whatever the ranges say."""
        everything = await ranges_now(self.log.settings, {"profiles"})
        said = await self.log.events(everything, {UserErased.AVRO})
        return self._union([table.select("user_id") for table in said.values()], "user_id string").distinct()

    async def _of_categories(self) -> DataFrame:
        """Items that have one of the categories asked for."""
        said = await self.log.events(self._parts("catalog"), {ItemAdded.AVRO, ItemChanged.AVRO})
        words = [table.select(*PLACE, "item_id", "categories") for table in said.values()]
        whole = self._union(words, "_partition int, _offset long, item_id string, categories array<string>")
        spoken = whole.filter("categories IS NOT NULL")
        last = spoken.groupBy("item_id").agg(fn.max_by("categories", fn.struct(*PLACE)).alias("categories"))
        asked = fn.array(*map(fn.lit, self.manifest.filters.categories))
        return last.filter(fn.arrays_overlap("categories", asked)).select("item_id")

    def _union(self, tables: Sequence[DataFrame], ddl: str) -> DataFrame:
        return reduce(DataFrame.unionByName, tables) if tables else self.log.spark.createDataFrame([], ddl)


def _ddl() -> str:
    kinds = {"Int32": "int", "Int64": "long", "String": "string", "Float64": "double"}
    return ", ".join(f"`{name}` {kinds.get(str(kind), 'timestamp')}" for name, kind in COLUMNS.items())


def _first(events: DataFrame) -> DataFrame:
    """The rows whose id comes for the first time from its user; ids of our own making (UUIDv7) cannot come twice."""
    chosen = fn.substring("_id", VERSION_AT + 1, 1) == str(CLIENT_CHOSEN)
    place = fn.row_number().over(Window.partitionBy("_id", "user_id").orderBy(*PLACE))
    once = events.filter(chosen).withColumn("place", place).filter("place = 1").drop("place")
    return events.filter(fn.coalesce(~chosen, fn.lit(True))).unionByName(once)


def kept(filters: Filters) -> Column:
    """Whether a row is what was asked for, as far as a row alone can tell."""
    value = fn.col("value")
    asked = [
        fn.col(column).isin(list(names))
        for column, names in (("kind", filters.kinds), ("item_id", filters.items), ("user_id", filters.users))
        if names
    ]
    asked += [~fn.col("item_id").isin(list(filters.without_items))] if filters.without_items else []
    asked += [~fn.col("user_id").isin(list(filters.without_users))] if filters.without_users else []
    asked += [fn.col("occurred_at") >= fn.lit(filters.since)] if filters.since else []
    asked += [fn.col("occurred_at") < fn.lit(filters.until)] if filters.until else []
    asked += [fn.coalesce(value >= filters.min_value, fn.lit(False))] if filters.min_value is not None else []
    asked += [fn.coalesce(value <= filters.max_value, fn.lit(False))] if filters.max_value is not None else []
    return reduce(lambda one, other: one & other, asked, fn.lit(True))


def core(rows: DataFrame, filters: Filters) -> DataFrame:
    """The rows whose user and item have enough of them."""
    if not filters.wants_core:
        return rows
    before, count = rows.persist(StorageLevel.MEMORY_AND_DISK), -1
    while count != (now := before.count()):
        count = now
        counted = before
        for column, least in (("user_id", filters.min_per_user), ("item_id", filters.min_per_item)):
            counted = counted.withColumn(f"_{column}s", fn.count("*").over(Window.partitionBy(column)))
            counted = counted.withColumn(f"_{column}s", fn.col(f"_{column}s") >= least)
        before = counted.filter("_user_ids AND _item_ids").select(*COLUMNS).persist(StorageLevel.MEMORY_AND_DISK)
    return before
