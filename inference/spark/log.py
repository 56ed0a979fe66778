"""A part of the log as Spark reads it: exact offsets, our framing, and the rules that every reader follows."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as fn
from pyspark.sql.avro.functions import from_avro

from infra.kafka.topics import physical
from infra.registry.client import RegistryClient
from infra.settings import Settings
from infra.spark import kafka_options
from schemas.codec import FRAME
from schemas.contracts import contracts
from schemas.envelope import DEFAULT_TENANT, EXPECTED_OFFSET
from schemas.errors import Incompatible, NotFound
from schemas.models import OffsetRange
from schemas.topics import TOPICS
from schemas.upcast import UPCASTERS

PLACE = ("_partition", "_offset")


@dataclass(frozen=True)
class Log:
    """Reads parts of the log with a Spark session, whoever started it.

    Args:
        spark: has the Kafka source and Avro on its class path.
    """

    spark: SparkSession
    settings: Settings

    def records(self, ranges: Sequence[OffsetRange]) -> DataFrame:
        """The tenant's records of these ranges of one topic that count.

        Columns: `_partition`, `_offset`, `_id`, `value`.
        """
        reads = [self._read(layer) for layer in _layers(ranges)]
        both = reduce(DataFrame.unionAll, reads)
        mine = both.filter(fn.coalesce(_header("tenant"), fn.lit(DEFAULT_TENANT)) == self.settings.tenant)
        if TOPICS[ranges[0].topic].is_decided:
            mine = mine.filter(_header(EXPECTED_OFFSET) == fn.col("offset").cast("string"))
        return mine.select(
            fn.col("partition").alias("_partition"),
            fn.col("offset").alias("_offset"),
            _header("ce_id").alias("_id"),
            "value",
        )

    def _read(self, parts: Sequence[OffsetRange]) -> DataFrame:
        """One range of each partition: what one read of the source can take."""
        topic = physical(self.settings, parts[0].topic)
        asked = {
            "assign": {topic: [part.partition for part in parts]},
            "startingOffsets": {topic: {str(part.partition): part.first for part in parts}},
            "endingOffsets": {topic: {str(part.partition): part.end for part in parts}},
        }
        options = {name: json.dumps(value) for name, value in asked.items()} | dict(kafka_options(self.settings.kafka))
        reader = self.spark.read.format("kafka").options(**options)
        return reader.options(
            **{"includeHeaders": "true", "failOnDataLoss": "true", "kafka.isolation.level": "read_committed"}
        ).load()

    async def events(self, ranges: Sequence[OffsetRange], types: Collection[str]) -> dict[str, DataFrame]:
        """The events of these types among the records, by type, their fields beside `PLACE` and `_id`.

        Raises:
            Incompatible: a record has no framing, is of an unknown schema, or of an event that has to be upcast.
            Unavailable: the registry does not answer.
        """
        ranges = [part for part in ranges if part.end > part.first]
        if not ranges:
            return {}
        records = self.records(ranges).withColumn("_schema", _schema_id())
        found: dict[str, DataFrame] = {}
        for schema_id, schema in (await self._schemas(records, ranges[0].topic)).items():
            name = f"{schema['namespace']}.{schema['name']}"
            if _current(name, types):
                table = _decoded(records, schema_id, schema, name)
                found[name] = found[name].unionByName(table) if name in found else table
        return found

    async def _schemas(self, records: DataFrame, topic: str) -> dict[int, dict[str, str]]:
        """The writers' schemas by id."""
        ids = [row[0] for row in records.select("_schema").distinct().collect()]
        if None in ids:
            raise Incompatible(f"a record of {topic} has no framing: its value names no schema", code="bad_framing")
        found: dict[int, dict[str, str]] = {}
        async with RegistryClient(self.settings.registry.url) as registry:
            for schema_id in sorted(ids):
                try:
                    found[schema_id] = json.loads(await registry.schema_by_id(schema_id))
                except NotFound as fault:
                    raise Incompatible(
                        f"the registry does not know schema {schema_id}", code="unknown_schema"
                    ) from fault
        return found


def _layers(ranges: Iterable[OffsetRange]) -> Iterator[list[OffsetRange]]:
    """The ranges in groups that name no partition twice."""
    by_partition: defaultdict[int, list[OffsetRange]] = defaultdict(list)
    for part in ranges:
        by_partition[part.partition].append(part)
    for place in range(max(map(len, by_partition.values()))):
        yield [parts[place] for parts in by_partition.values() if place < len(parts)]


def _header(name: str) -> Column:
    """The last header of a name, as text; null where there is none."""
    named = fn.filter(fn.col("headers"), lambda header: header["key"] == name)
    return fn.element_at(fn.when(fn.size(named) > 0, named), -1)["value"].cast("string")


def _schema_id() -> Column:
    """The number after the first byte of the framing; null when the framing is another."""
    value = fn.col("value")
    framed = (fn.length(value) >= FRAME.size) & (fn.hex(fn.substring(value, 1, 1)) == "00")
    return fn.when(framed, fn.conv(fn.hex(fn.substring(value, 2, 4)), 16, 10).cast("int"))


def _current(name: str, types: Collection[str]) -> bool:
    """Whether an event is of one of these types.

    Raises:
        Incompatible: it becomes one by upcasting, which is Python.
    """
    if name in UPCASTERS:
        raise Incompatible(
            f"the ranges hold {name}, an old form that is brought up to date by code that Spark does not have: leave "
            "these offsets out, or build the dataset with `retrace dataset build`",
            code="needs_upcasting",
        )
    return name in types


def _decoded(records: DataFrame, schema_id: int, schema: Mapping[str, str], name: str) -> DataFrame:
    """The fields of one schema of the writer, as the event is today.

    The bytes of other schemas are taken away before they are decoded, not only filtered out: Spark is free to evaluate
    what stands in a filter before the filter.
    """
    mine = fn.col("_schema") == schema_id
    body = fn.when(mine, fn.expr(f"substring(value, {FRAME.size + 1})"))
    event = from_avro(body, json.dumps(schema), {"mode": "FAILFAST", "avroSchema": contracts()[name].json})
    return records.filter(mine).select(*PLACE, "_id", event.alias("event")).select(*PLACE, "_id", "event.*")
