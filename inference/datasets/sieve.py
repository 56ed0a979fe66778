"""Lets through what belongs into a dataset, and counts the rest."""

from collections.abc import Collection, Iterator, Sequence

import polars as pl

from inference.datasets.content import ContentHash
from inference.datasets.filters import NO_FILTERS, Filters
from inference.datasets.manifest import COLUMNS, Manifest, Part
from inference.datasets.people import NO_ERASURES, Erasures
from inference.inputs import SILENT_KINDS
from infra.kafka.columns import client_chosen
from schemas.envelope import DEFAULT_TENANT
from schemas.models import OffsetRange

HASHED_AT_ONCE = 1 << 17


class Firsts:
    """Knows an id that comes a second time from the same user."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, str]] = set()

    def of(self, table: pl.DataFrame) -> pl.DataFrame:
        """The rows whose id comes for the first time. Ids of our own making (UUIDv7) cannot come twice."""
        can_repeat = table.select(client_chosen(pl.col("_id"))).to_series()
        if not can_repeat.any():
            return table
        rows = zip(can_repeat, zip(table["_id"], table["user_id"], strict=True), strict=True)
        return table.filter(pl.Series([not own or self._is_new(one) for own, one in rows], dtype=pl.Boolean))

    def _is_new(self, one: tuple[str, str]) -> bool:
        if one in self._seen:
            return False
        self._seen.add(one)
        return True


class Sieve:
    """Lets through what belongs into a dataset, and counts the rest.

    Args:
        withdrawn: users who are left out.
        erasures: users who are left out as well.
        filters: what was asked for.
        of_categories: the items that have one of the categories asked for.
        silent: kinds left out.
    """

    def __init__(
        self,
        withdrawn: Collection[str],
        erasures: Erasures = NO_ERASURES,
        *,
        filters: Filters = NO_FILTERS,
        of_categories: Collection[str] = (),
        silent: Collection[str] = SILENT_KINDS,
    ) -> None:
        self._withdrawn = sorted(set(withdrawn) - erasures.users)
        self._erasures = erasures
        self._gone = sorted(erasures.users)
        self._gone_since = sorted(erasures.since - set(withdrawn))
        self._erased = self._erased_since = 0
        self._filters, self._wanted = filters, filters.keep(of_categories)
        self._silent_kinds = tuple(sorted(silent))
        self._firsts = Firsts()
        self._schema_ids: set[int] = set()
        self._kept: list[pl.DataFrame] = []
        self._duplicates = self._silent = self._refused = self._filtered = 0

    def take(self, table: pl.DataFrame) -> None:
        """The next interactions in log order."""
        self._schema_ids |= set(table["_schema_id"].unique())
        first = self._firsts.of(table)
        self._duplicates += len(table) - len(first)
        spoken = first.filter(~pl.col("kind").is_in(self._silent_kinds))
        self._silent += len(first) - len(spoken)
        asked = spoken.filter(self._wanted)
        self._filtered += len(spoken) - len(asked)
        there = asked.filter(~pl.col("user_id").is_in(self._gone))
        self._erased += len(asked) - len(there)
        self._erased_since += len(asked.filter(pl.col("user_id").is_in(self._gone_since)))
        allowed = there.filter(~pl.col("user_id").is_in(self._withdrawn))
        self._refused += len(there) - len(allowed)
        self._kept.append(allowed.select(pl.col(name).cast(kind) for name, kind in COLUMNS.items()))

    def rows(self) -> tuple[pl.DataFrame, int]:
        """All that was let through, and how many fell out because their user or item had too few."""
        whole = pl.concat(self._kept) if self._kept else pl.DataFrame(schema=dict(COLUMNS))
        rows = self._filters.core(whole)
        return rows.rechunk(), len(whole) - len(rows)

    def manifest(
        self, ranges: Sequence[OffsetRange], rows: pl.DataFrame, thinned: int, tenant: str = DEFAULT_TENANT
    ) -> Manifest:
        """What `rows` gave, said of these ranges."""
        return Manifest(
            ranges=tuple(ranges),
            silent_kinds=self._silent_kinds,
            schema_ids=tuple(sorted(self._schema_ids)),
            rows=len(rows),
            duplicates=self._duplicates,
            silent=self._silent,
            withdrawn_users=len(self._withdrawn),
            withdrawn=self._refused,
            erasures=self._erasures.ranges,
            erased_users=len(self._gone),
            erased=self._erased,
            erased_since=self._erased_since,
            sha256=content_sha256(rows),
            tenant=tenant,
            filters=self._filters,
            filtered=self._filtered,
            thinned=thinned,
            users=rows["user_id"].n_unique(),
            items=rows["item_id"].n_unique(),
            parts=tuple(_parts(ranges, rows)),
        )


def content_sha256(rows: pl.DataFrame) -> str:
    """The hash that a manifest names for these rows."""
    content = ContentHash(COLUMNS)
    for piece in rows.iter_slices(HASHED_AT_ONCE):
        content.update(piece)
    return content.hexdigest()


def _parts(ranges: Sequence[OffsetRange], rows: pl.DataFrame) -> Iterator[Part]:
    """The same for each range of interactions. Rows stand in the order of the ranges."""
    for part in ranges:
        if part.topic == "interactions":
            at = (pl.col("_partition") == part.partition) & pl.col("_offset").is_between(part.first, part.end - 1)
            mine = rows.filter(at)
            yield Part(part, len(mine), content_sha256(mine))
