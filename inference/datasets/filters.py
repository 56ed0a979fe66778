"""Which interactions somebody wants in a dataset: part of its manifest, and of what its hash stands for."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from functools import reduce
from math import isfinite
from typing import Any, get_args, get_type_hints

import msgspec
import polars as pl

from schemas.errors import Invalid
from schemas.interactions import InteractionRecorded

KINDS: tuple[str, ...] = get_args(get_type_hints(InteractionRecorded)["kind"])


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What an interaction must be to stay; a list that is empty and a bound that is None ask for nothing.

    Attributes:
        kinds: one of these.
        items: with one of these items.
        categories: with an item that has one of these categories where the ranges of `catalog` end.
        users: of one of these users.
        without_items: not with these items.
        without_users: not of these users.
        since: occurred then or later.
        until: occurred before.
        min_value: a value of this or more; an interaction without a value is left out.
        max_value: a value of this or less; an interaction without a value is left out.
        min_per_user: of a user with so many interactions in the dataset.
        min_per_item: with an item of so many. Both are asked again until nothing more falls out (a core of the graph).
    """

    kinds: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    without_items: tuple[str, ...] = ()
    without_users: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    min_value: float | None = None
    max_value: float | None = None
    min_per_user: int = 0
    min_per_item: int = 0

    def __post_init__(self) -> None:
        """One way to say a thing: lists are sorted and name nothing twice.

        Raises:
            Invalid: there is no such kind, or a bound makes no sense.
        """
        for field in fields(self):
            if isinstance(value := getattr(self, field.name), tuple):
                object.__setattr__(self, field.name, tuple(sorted(set(value))))
        if unknown := set(self.kinds) - set(KINDS):
            raise _bad(f"there is no kind {', '.join(sorted(unknown))}: there are {', '.join(KINDS)}")
        for name in ("since", "until"):
            if (when := getattr(self, name)) is not None and when.tzinfo is None:
                raise _bad(f"{name} names no time zone: write 2026-01-31T12:00:00Z")
        if self.since is not None and self.until is not None and self.until <= self.since:
            raise _bad("`until` is not after `since`, so nothing would be left")
        values = [value for value in (self.min_value, self.max_value) if value is not None]
        if not all(map(isfinite, values)) or values != sorted(values):
            raise _bad("min_value and max_value must be numbers, the first no greater than the second")
        if self.min_per_user < 0 or self.min_per_item < 0:
            raise _bad("min_per_user and min_per_item must be 0 or more")

    @property
    def wants_core(self) -> bool:
        """Whether rows depend on how many others there are."""
        return max(self.min_per_user, self.min_per_item) > 1

    def keep(self, of_categories: Collection[str] = ()) -> pl.Expr:
        """Whether a row stays, as far as a row alone can tell.

        Args:
            of_categories: the items that have one of `categories`.
        """
        asked = [
            pl.col(column).is_in(list(names))
            for column, names in (("kind", self.kinds), ("item_id", self.items), ("user_id", self.users))
            if names
        ]
        asked += [~pl.col("item_id").is_in(list(self.without_items))] if self.without_items else []
        asked += [~pl.col("user_id").is_in(list(self.without_users))] if self.without_users else []
        asked += [pl.col("item_id").is_in(sorted(of_categories))] if self.categories else []
        asked += [pl.col("occurred_at") >= self.since] if self.since else []
        asked += [pl.col("occurred_at") < self.until] if self.until else []
        asked += [(pl.col("value") >= self.min_value).fill_null(False)] if self.min_value is not None else []
        asked += [(pl.col("value") <= self.max_value).fill_null(False)] if self.max_value is not None else []
        return reduce(lambda one, other: one & other, asked, pl.lit(True))

    def core(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows whose user and item have enough of them."""
        wanted = {"user_id": self.min_per_user, "item_id": self.min_per_item}
        enough = pl.all_horizontal(pl.len().over(column) >= least for column, least in wanted.items())
        while self.wants_core and len(kept := rows.filter(enough)) < len(rows):
            rows = kept
        return rows


NO_FILTERS = Filters()


def filters_of(values: Mapping[str, Any]) -> Filters:
    """Filters as a manifest or a command line names them.

    Raises:
        Invalid: there is no such filter, or it makes no sense.
    """
    known = [field.name for field in fields(Filters)]
    if unknown := sorted(set(values) - set(known)):
        raise Invalid(f"there is no filter {', '.join(unknown)}: known are {', '.join(known)}", code="unknown_filter")
    try:
        return msgspec.convert(dict(values), Filters)
    except msgspec.ValidationError as fault:
        raise _bad(str(fault)) from fault


def _bad(detail: str) -> Invalid:
    return Invalid(detail, code="bad_filter")
