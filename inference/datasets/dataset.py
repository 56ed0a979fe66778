"""A dataset is a manifest: which part of the log, what was left out, and the hash of what remained.

The same ranges give the same rows and the same hash on any day and any machine: rows stand in log order, an id that
a user's client sends again counts once, where it came first, and consent is read from the profiles as they stood at
the stated offsets. One thing is stronger: whoever has been erased by now is left out, whatever the ranges say, so a
dataset of before an erasure cannot be made again.
"""

import asyncio
import tempfile
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from inference.datasets.catalogue import items_of
from inference.datasets.content import ContentHash
from inference.datasets.context import read_context
from inference.datasets.filters import NO_FILTERS, Filters
from inference.datasets.manifest import COLUMNS, FeatureContent, Known, Manifest
from inference.datasets.people import PROFILES, Erasures, erasures, withdrawn
from inference.datasets.pointintime import RULE, Joined, join
from inference.datasets.sieve import Sieve
from inference.feature import Feature, named
from inference.inputs import SILENT_KINDS
from inference.interactions import Interactions
from infra.kafka.ranges import ordered_ranges, ranges_now
from infra.kafka.records import Decoder
from infra.kafka.replay import WORKERS, Report, replay
from infra.kafka.topics import stamped_by
from infra.settings import Settings
from schemas.errors import Invalid
from schemas.interactions import InteractionRecorded
from schemas.models import OffsetRange

__all__ = ["COLUMNS", "INTERACTIONS", "PROFILES", "Asked", "Dataset", "Manifest", "build", "fixed_ranges"]

INTERACTIONS, CATALOG = "interactions", "catalog"
TOPICS = (INTERACTIONS, PROFILES, CATALOG)
PRODUCER_LAG_MS = 5_000
"""How far the clocks of producers may be apart, where they and not the broker stamp the records."""


@dataclass(frozen=True)
class Asked:
    """What somebody wants of the ranges; the default is all there is, without features.

    Attributes:
        features: names of declarations in `inference/features`.
        lag_ms: how much later than written an event of another partition counts as known; None for 0 where the broker
            stamps the records, and `PRODUCER_LAG_MS` where their producers do.
        context: what the features fold; None for everything up to the end of the ranges.
        silent: kinds left out.
        workers: parts of the log read at once; without effect on what comes out.
    """

    filters: Filters = NO_FILTERS
    features: tuple[str, ...] = ()
    lag_ms: int | None = None
    context: tuple[OffsetRange, ...] | None = None
    silent: Collection[str] = SILENT_KINDS
    workers: int = WORKERS

    @classmethod
    def again(cls, manifest: Manifest, workers: int = WORKERS) -> "Asked":
        """What was asked for when this manifest was written.

        Raises:
            Invalid: a feature has gone, or is declared otherwise now.
        """
        declared = {one.name: one.version for one in named([one.name for one in manifest.features])}
        for one in manifest.features:
            if declared[one.name] != one.version:
                raise Invalid(
                    f"feature {one.name} is at version {declared[one.name]} now and was at {one.version}: the rows can "
                    "still be verified without features, the feature with the code of then",
                    code="other_feature",
                )
        known = manifest.known
        return cls(
            filters=manifest.filters,
            features=tuple(declared),
            lag_ms=known.lag_ms if known else None,
            context=known.ranges if known else None,
            silent=manifest.silent_kinds,
            workers=workers,
        )


ALL = Asked()


@dataclass(frozen=True, eq=False)
class Dataset:
    """A manifest and its rows, with the columns of `COLUMNS`, and row for row those of the features."""

    manifest: Manifest
    rows: pl.DataFrame
    features: pl.DataFrame = field(default_factory=pl.DataFrame)

    @property
    def table(self) -> pl.DataFrame:
        """Rows and features side by side."""
        return pl.concat([self.rows, self.features], how="horizontal") if self.features.width else self.rows

    @cached_property
    def interactions(self) -> Interactions:
        """As models are fitted on them; every row weighs the same."""
        users, items = self.rows["user_id"], self.rows["item_id"]
        return Interactions(
            user=_numbers(users),
            item=_numbers(items),
            weight=pl.repeat(1.0, len(self.rows), dtype=pl.Float32, eager=True).to_numpy(),
            occurred_at=self.rows["occurred_at"].to_physical().to_numpy(),
            users=tuple(users.unique().sort()),
            items=tuple(items.unique().sort()),
        )


def _numbers(names: pl.Series) -> Any:
    """Index of each name in the sorted vocabulary."""
    return (names.rank("dense") - 1).cast(pl.Int32).to_numpy()


async def fixed_ranges(
    settings: Settings, asked: Sequence[OffsetRange], topics: Collection[str] = (INTERACTIONS, PROFILES)
) -> tuple[OffsetRange, ...]:
    """What a run reads: what was asked for, and where nothing was asked of one of `topics` all there is now.

    Raises:
        Invalid: a range is of another topic, or makes no sense.
        Unavailable: the brokers do not answer.
    """
    named = {part.topic for part in asked}
    if others := named - set(TOPICS):
        raise Invalid(f"a dataset is made of {', '.join(TOPICS)}, not of {', '.join(sorted(others))}")
    missing = set(topics) - named
    return tuple(ordered_ranges([*asked, *(await ranges_now(settings, missing) if missing else ())]))


async def build(
    settings: Settings,
    decoder: Decoder,
    ranges: Iterable[OffsetRange],
    report: Report | None = None,
    asked: Asked = ALL,
) -> Dataset:
    """Replay these ranges into a dataset.

    Raises:
        Invalid: a range is not within the log, profiles do not begin at its start, or there is no such feature.
        Incompatible: an event cannot be read.
        Unavailable: brokers or registry do not answer.
    """
    ordered = ordered_ranges(ranges)
    if asked.filters.categories:
        ordered = [*await fixed_ranges(settings, ordered, {CATALOG})]
    profiles = [part for part in ordered if part.topic == PROFILES]
    if any(part.first for part in profiles):
        raise Invalid("consent is a fold from the first event: the ranges of profiles must begin at offset 0")
    features = named(asked.features)
    refusing = await withdrawn(settings, decoder, profiles)
    gone = await erasures(settings, decoder, profiles)
    dataset = await _rows(settings, decoder, ordered, report, asked, refusing, gone)
    if not features:
        return dataset
    return await _with_features(settings, decoder, dataset, features, asked, refusing | gone.users)


async def _rows(
    settings: Settings,
    decoder: Decoder,
    ordered: Sequence[OffsetRange],
    report: Report | None,
    asked: Asked,
    refusing: set[str],
    gone: Erasures,
) -> Dataset:
    catalogue = [part for part in ordered if part.topic == CATALOG]
    of_categories = await items_of(settings, decoder, catalogue, asked.filters.categories)
    sieve = Sieve(refusing, gone, filters=asked.filters, of_categories=of_categories, silent=asked.silent)
    wanted = [part for part in ordered if part.topic == INTERACTIONS]
    types = {InteractionRecorded.AVRO}
    async for tables in replay(settings, decoder, wanted, types=types, report=report, workers=asked.workers):
        for table in tables.values():
            sieve.take(table)
    return await asyncio.to_thread(finished, sieve, ordered, settings.tenant)


def finished(sieve: Sieve, ranges: Sequence[OffsetRange], tenant: str) -> Dataset:
    """What a sieve let through, as a dataset of these ranges."""
    rows, thinned = sieve.rows()
    return Dataset(sieve.manifest(ranges, rows, thinned, tenant), rows)


async def _with_features(
    settings: Settings,
    decoder: Decoder,
    dataset: Dataset,
    features: Sequence[Feature],
    asked: Asked,
    unused: Collection[str],
) -> Dataset:
    ranges = asked.context or await context_ranges(settings, dataset.manifest.ranges)
    stamps = await stamped_by(settings, TOPICS)
    lag_ms = asked.lag_ms
    if lag_ms is None:
        lag_ms = 0 if set(stamps.values()) == {"broker"} else PRODUCER_LAG_MS
    with tempfile.TemporaryDirectory(prefix="retrace-features-") as folder:
        context = await read_context(
            settings, decoder, ranges, Path(folder), unused=unused, silent=asked.silent, workers=asked.workers
        )
        joined = await asyncio.to_thread(join, dataset.rows, context, features, lag_ms)
    known = Known(RULE, lag_ms, tuple(ranges), stamps, joined.late)
    return _featured(dataset, features, joined, known)


async def context_ranges(settings: Settings, ranges: Sequence[OffsetRange]) -> tuple[OffsetRange, ...]:
    """What features fold: of interactions all up to the end of the ranges, of the catalogue all there is.

    Raises:
        Unavailable: the brokers do not answer.
    """
    ends = {(part.topic, part.partition): part.end for part in ranges if part.topic == INTERACTIONS}
    whole = await ranges_now(settings, {INTERACTIONS})
    known = [replace(part, end=ends.get((part.topic, part.partition), part.end)) for part in whole]
    others = [part for part in ranges if part.topic != INTERACTIONS]
    return await fixed_ranges(settings, [*known, *others], TOPICS)


def _featured(dataset: Dataset, features: Sequence[Feature], joined: Joined, known: Known) -> Dataset:
    contents = tuple(_content(feature, joined.columns[feature.name]) for feature in features)
    manifest = replace(dataset.manifest, features=contents, known=known)
    return Dataset(manifest, dataset.rows, pl.concat(joined.columns.values(), how="horizontal"))


def _content(feature: Feature, columns: pl.DataFrame) -> FeatureContent:
    content = ContentHash(feature.columns)
    content.update(columns)
    kinds = {name: str(kind) for name, kind in columns.schema.items()}
    return FeatureContent(feature.name, feature.version, kinds, content.hexdigest())
