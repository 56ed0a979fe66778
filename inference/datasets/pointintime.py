"""Features as they were known where each interaction stands in the log, and of what had happened by its time.

Two clocks, two conditions. An interaction knows of an event

- that became known before it: of its own user, what stands before it in its partition; of anything else, what the log
  had taken in (`inference.datasets.context`) more than `lag_ms` before it took in the interaction itself, the same
  millisecond not included;
- and, of interactions, only up to the first that happened after it.

So what a row sees of a key is a beginning of the key's events: a state that a fold of the log really was in. Whatever
comes later stands behind that beginning and changes nothing. docs/explanation/point-in-time.md says why.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from inference.datasets.context import Context
from inference.feature import KEY, Feature, Source

RULE = (
    "an event of the row's own user counts when it stands before the row in their partition; any other when the latest "
    "stamp of its partition up to it, plus lag_ms, is less than that of the row; interactions only up to the first of "
    "their key that happened after the row"
)
SHARD_EVENTS = 2_000_000
"""Events that are folded at once: what bounds the memory, beside the rows themselves."""
MICROSECOND = timedelta(microseconds=1)

Ints: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Joined:
    """What features say of the rows.

    Attributes:
        columns: of each feature by its name, row for row.
        late: rows that were denied something the log knew, because it had happened after them.
    """

    columns: dict[str, pl.DataFrame]
    late: int


def join(
    rows: pl.DataFrame, context: Context, features: Sequence[Feature], lag_ms: int = 0, shard: int = SHARD_EVENTS
) -> Joined:
    """What these features knew at each of the rows.

    Args:
        rows: interactions, with the columns of `inference.datasets.manifest.COLUMNS`; each is in the context as well.
        shard: events folded at once.
    """
    places = _places(rows, context)
    by_source = groupby(sorted(features, key=lambda one: one.source.name), key=lambda one: one.source)
    pieces: dict[str, list[pl.DataFrame]] = {}
    late = np.zeros(len(rows), bool)
    for source, group in by_source:
        mine = list(group)
        for some, events in _shards(places, context, source, shard):
            sight = _sight(some, events, source, lag_ms)
            late[some["row"].to_numpy()] |= sight.late
            for feature in mine:
                pieces.setdefault(feature.name, []).append(_read(feature, some, events, sight))
    columns = {name: pl.concat(found).sort("row").drop("row") for name, found in pieces.items()}
    return Joined({feature.name: columns[feature.name] for feature in features}, int(late.sum()))


def _places(rows: pl.DataFrame, context: Context) -> pl.DataFrame:
    """Where each row stands, in both clocks: `written` and `at`, microseconds since 1970.

    Nothing happens after it was written, so a client's clock that is ahead counts as right on time.
    """
    wanted = rows.select("_partition", "_offset", "user_id", "item_id", occurred=pl.col("occurred_at").dt.epoch("us"))
    stamped = wanted.join(context.stamps(), on=["_partition", "_offset"], how="left", maintain_order="left")
    assert not stamped["stamp"].has_nulls(), "a row is not in the context"
    return stamped.with_row_index("row").with_columns(_written(), _happened())


def _written() -> pl.Expr:
    return (pl.col("stamp") * 1000).alias("written")


def _happened() -> pl.Expr:
    """No later than the end of the millisecond in which it was written."""
    return pl.min_horizontal("occurred", pl.col("stamp") * 1000 + 999).alias("at")


def _shards(
    places: pl.DataFrame, context: Context, source: Source, size: int
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Rows and events that have their keys in common; every row and every event is in one shard."""
    events = context.events(source)
    count = 1 + int(events.select(pl.len()).collect().item()) // size
    key = pl.concat_str(source.key, separator="\0").hash(0) % count
    for number in range(count):
        yield places.filter(key == number), _ordered(events.filter(key == number).collect(), source)


def _ordered(events: pl.DataFrame, source: Source) -> pl.DataFrame:
    """The events of each key in the order in which they became known, with `at`, `clock` and `written`."""
    order = ("_partition", "_offset") if source.is_own else ("stamp", "_partition", "_offset")
    happened = _happened() if "occurred" in events.columns else (pl.col("stamp") * 1000).alias("at")
    keys = events.select(_key(source)).unique().sort(_key(source)).with_row_index(KEY)
    numbered = events.join(keys, on=list(_key(source)), how="left").sort(KEY, *order)
    timed = numbered.with_columns(_written(), happened, pl.col(KEY).cast(pl.Int64))
    return timed.with_columns(clock=pl.col("at").cum_max().over(KEY))


def _key(source: Source) -> tuple[str, ...]:
    """Events of a row's own user are told apart by partition as well: there, order is that of one partition."""
    return (*source.key, "_partition") if source.is_own else source.key


@dataclass(frozen=True)
class Sight:
    """How far into the events of its key each row sees.

    Attributes:
        starts: where the key's events begin.
        known: how many of them the row knows of.
        late: whether it was denied some that the log knew.
        keys: number of its key; -1 where no event has it.
    """

    starts: Ints
    known: Ints
    late: NDArray[np.bool_]
    keys: Ints


def _sight(rows: pl.DataFrame, events: pl.DataFrame, source: Source, lag_ms: int) -> Sight:
    numbers = events.select(*_key(source), KEY).unique()
    keys = rows.join(numbers, on=list(_key(source)), how="left", maintain_order="left")[KEY].fill_null(-1).to_numpy()
    known = _known(rows, events, keys, source, lag_ms)
    happened = known
    if source.topic == "interactions":
        happened = counted(events["clock"].to_numpy(), events[KEY].to_numpy(), rows["at"].to_numpy() + 1, keys)
    starts = np.searchsorted(events[KEY].to_numpy(), keys)
    return Sight(starts, np.minimum(known, happened), happened < known, keys)


def _known(rows: pl.DataFrame, events: pl.DataFrame, keys: Ints, source: Source, lag_ms: int) -> Ints:
    """How many events of its key had become known before each row: the guard that nothing later passes."""
    if source.is_own:
        return counted(events["_offset"].to_numpy(), events[KEY].to_numpy(), rows["_offset"].to_numpy(), keys)
    return counted(events["stamp"].to_numpy(), events[KEY].to_numpy(), rows["stamp"].to_numpy() - lag_ms, keys)


def counted(orders: NDArray[Any], keys: NDArray[Any], before: NDArray[Any], of: NDArray[Any]) -> Ints:
    """For each of `of`, how many events of that key have an order less than its `before`.

    Args:
        orders: of the events; ascending within each key.
        keys: of the events, ascending; -1 is no key.
    """
    values = np.unique(orders)
    width = len(values) + 1
    places = keys * width + np.searchsorted(values, orders)
    ends = np.searchsorted(places, of * width + np.searchsorted(values, before))
    found: Ints = np.where(of < 0, 0, ends - np.searchsorted(keys, of))
    return found


def _read(feature: Feature, rows: pl.DataFrame, events: pl.DataFrame, sight: Sight) -> pl.DataFrame:
    """The feature's columns for these rows, and `row`."""
    last = pl.Series(sight.starts + sight.known - 1, dtype=pl.Int64).set(pl.Series(sight.known == 0), None)
    states = feature.fold(events).select(pl.all().gather(last))
    within = _within(feature, rows, events, sight)
    said = feature.read(states.with_columns(rows["at"], rows["written"], known=pl.Series(sight.known), **within))
    return said.select(rows["row"], *(pl.col(name).cast(kind) for name, kind in feature.columns.items()))


def _within(feature: Feature, rows: pl.DataFrame, events: pl.DataFrame, sight: Sight) -> dict[str, pl.Series]:
    """How many of the events that a row knows of lie in each window before it, by the key's clock."""
    found: dict[str, pl.Series] = {}
    for place, window in enumerate(feature.windows):
        start = rows["at"].to_numpy() - window // MICROSECOND + 1
        before = counted(events["clock"].to_numpy(), events[KEY].to_numpy(), start, sight.keys)
        found[f"within_{place}"] = pl.Series(np.maximum(sight.known - before, 0))
    return found
