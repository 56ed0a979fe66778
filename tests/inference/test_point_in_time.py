"""Features may know nothing that the log did not know yet, nor anything that had not happened yet."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate, takewhile
from random import Random
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

import inference.datasets.pointintime
from inference.datasets.context import FIELDS, Context, Narrowing
from inference.datasets.manifest import COLUMNS
from inference.datasets.pointintime import counted, join
from inference.decay import decayed, masses
from inference.feature import KEY, Source, features, named, seconds
from schemas.catalog import ItemAdded, ItemChanged, ItemRetired
from schemas.errors import Invalid
from schemas.interactions import InteractionRecorded
from schemas.profiles import ConsentGiven, ConsentWithdrawn, PreferencesChanged, UserRegistered

TIMES: dict[str, Any] = {"_timestamp": pl.Datetime("ms", "UTC"), "_partition": pl.Int32, "_offset": pl.Int64}
START = datetime(2026, 1, 1, tzinfo=UTC)
LAG_MS = 3
PARTITION = {"ana": 0, "ben": 1, "cid": 0, "x": 0, "y": 1}
INTERACTION = {name: kind for name, kind in COLUMNS.items() if name not in ("_topic", "_partition", "_offset")}


@dataclass(frozen=True)
class Said:
    """One event that is appended.

    Attributes:
        after_ms: by how much the broker's clock has moved on since the event before; less than 0 when it was set back.
        fields: what it says; an interaction's `occurred_at` is minutes after `START`.
    """

    type: str
    key: str
    after_ms: int
    fields: tuple[tuple[str, Any], ...]

    @property
    def topic(self) -> str:
        return {"interactions": "interactions", "profiles": "profiles", "catalog": "catalog"}[self.type.split(".")[1]]


def said(type: str, key: st.SearchStrategy[str], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Said]:
    pairs = st.fixed_dictionaries(fields).map(lambda found: tuple(found.items()))
    return st.builds(Said, st.just(type), key, st.integers(0, 4), pairs)


users, items = st.sampled_from(["ana", "ben", "cid"]), st.sampled_from(["x", "y"])
categories = st.lists(st.sampled_from("pqr"), max_size=2)
purposes = st.sampled_from(["personalisation", "training"])
interaction = said(
    InteractionRecorded.AVRO,
    users,
    item_id=items,
    kind=st.sampled_from(["view", "rate", "skip"]),
    value=st.none() | st.integers(1, 5).map(float),
    occurred_at=st.integers(-3000, 40000),
)
event = st.one_of(
    interaction,
    interaction,
    interaction,
    said(ItemAdded.AVRO, items, title=st.sampled_from("ABC"), categories=categories),
    said(ItemChanged.AVRO, items, title=st.none() | st.sampled_from("ABC"), categories=st.none() | categories),
    said(ItemRetired.AVRO, items),
    said(UserRegistered.AVRO, users),
    said(
        PreferencesChanged.AVRO, users, hidden_categories=categories, language=st.none() | st.sampled_from(["en", "de"])
    ),
    said(ConsentGiven.AVRO, users, purpose=purposes),
    said(ConsentWithdrawn.AVRO, users, purpose=purposes),
)
logs = st.lists(event, max_size=14)


def stamped(log: Sequence[Said]) -> list[int]:
    """The broker's clock at each event, in milliseconds: never further back than the lag."""
    now, latest, found = 0, 0, []
    for one in log:
        now = max(now + one.after_ms, latest - LAG_MS)
        latest = max(latest, now)
        found.append(now)
    return found


def tables(log: Sequence[Said]) -> Iterable[tuple[str, dict[str, pl.DataFrame]]]:
    """The events as a replay gives them: of each topic, partition after partition, by type."""
    rows: defaultdict[tuple[str, int], defaultdict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for number, (one, stamp) in enumerate(zip(log, stamped(log), strict=True)):
        by_type = rows[one.topic, PARTITION[one.key]]
        row = {
            "_partition": PARTITION[one.key],
            "_offset": sum(map(len, by_type.values())),
            "_timestamp": START + timedelta(milliseconds=stamp),
            "_id": str(UUID(int=number | 7 << 76)),
            ("item_id" if one.topic == "catalog" else "user_id"): one.key,
            **dict(one.fields),
        }
        if "occurred_at" in row:
            row["occurred_at"] = START - timedelta(days=2) + timedelta(minutes=row["occurred_at"])
        by_type[one.type].append(row)
    for (topic, _), types in sorted(rows.items()):
        kinds = {**TIMES, **INTERACTION, **FIELDS[topic]}
        yield (
            topic,
            {
                type: pl.DataFrame(found, schema={name: kinds[name] for name in found[0]})
                for type, found in types.items()
            },
        )


def context_of(log: Sequence[Said]) -> Context:
    narrow = {topic: Narrowing(topic, silent={"skip"}) for topic in FIELDS}
    found = {topic: [pl.DataFrame(schema=one.schema)] for topic, one in narrow.items()}
    for topic, piece in tables(log):
        found[topic].append(narrow[topic].of(piece))
    return Context({topic: pl.concat(pieces).lazy() for topic, pieces in found.items()})


def rows_of(log: Sequence[Said]) -> pl.DataFrame:
    """The interactions of a log as rows of a dataset."""
    found = [piece[InteractionRecorded.AVRO] for topic, piece in tables(log) if topic == "interactions"]
    if not found:
        return pl.DataFrame(schema=dict(COLUMNS))
    common = [pl.lit("interactions").alias("_topic"), pl.lit(None, pl.String).alias("decision_id")]
    table = (
        pl.concat(found, how="diagonal")
        .with_columns(*common)
        .select(pl.col(name).cast(kind) for name, kind in COLUMNS.items())
    )
    return table.filter(pl.col("kind") != "skip")


def known(log: Sequence[Said], lag_ms: int = LAG_MS, shard: int = 1000) -> dict[tuple[int, int], tuple[Any, ...]]:
    """Every feature of every interaction, by its position."""
    rows = rows_of(log)
    joined = join(rows, context_of(log), list(features().values()), lag_ms, shard)
    said = pl.concat(joined.columns.values(), how="horizontal").rows()
    return dict(zip(rows.select("_partition", "_offset").rows(), map(repr, said), strict=True))  # type: ignore[arg-type]


def leaks(log: Sequence[Said], later: Said) -> bool:
    """Whether an event that is appended later changes what an earlier row knew."""
    before, after = known(log), known([*log, later])
    return any(after[place] != values for place, values in before.items())


later = st.tuples(event, st.integers(-9, 3)).map(lambda pair: Said(pair[0].type, pair[0].key, pair[1], pair[0].fields))


@settings(max_examples=60)
@given(logs, later)
def test_nothing_later_leaks_in(log: list[Said], later: Said) -> None:
    """Any event appended later, whenever it happened, leaves every earlier row as it was, bit for bit."""
    assert not leaks(log, later)


def by_event_time(rows: pl.DataFrame, events: pl.DataFrame, keys: Any, source: Any, lag_ms: int) -> Any:
    """The join that leaks: everything that had happened, whenever it became known."""
    everything = np.full(len(rows), 1 << 60)
    orders = np.arange(len(events))
    return counted(orders, events[KEY].to_numpy(), everything, keys)


def without_lag(rows: pl.DataFrame, events: pl.DataFrame, keys: Any, source: Any, lag_ms: int) -> Any:
    """One that takes events of the same moment for known."""
    if source.is_own:
        return counted(events["_offset"].to_numpy(), events[KEY].to_numpy(), rows["_offset"].to_numpy(), keys)
    return counted(events["stamp"].to_numpy(), events[KEY].to_numpy(), rows["stamp"].to_numpy() + 1, keys)


@pytest.mark.parametrize("leaky", [by_event_time, without_lag])
def test_without_the_guard_something_leaks(leaky: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A property that also holds without what it tests would prove nothing."""
    monkeypatch.setattr(inference.datasets.pointintime, "_known", leaky)
    quick = settings(max_examples=2000, deadline=None, phases=[Phase.generate])
    assert find(st.tuples(logs, later), lambda case: leaks(*case), settings=quick, random=Random(7))


NAIVE = (
    "user_interactions",
    "user_last_items",
    "item_interactions",
    "user_language",
    "item_title",
    "user_allows_training",
)


def naive(log: Sequence[Said]) -> dict[tuple[int, int], tuple[Any, ...]]:
    """Some features by the words of the rule, one row and one event at a time."""
    context = context_of(log)
    interactions, profiles, catalog = (
        list(context.events(source).collect().iter_rows(named=True))
        for source in (Source.USER, Source.PROFILE, Source.CATALOGUE)
    )
    found: dict[tuple[int, int], tuple[Any, ...]] = {}
    for row in interactions:
        mine = [one for one in of(interactions, row, "user_id") if one["_offset"] < row["_offset"]]
        theirs = [one for one in of(interactions, row, "item_id") if one["stamp"] + LAG_MS < row["stamp"]]
        own, item = (list(takewhile(lambda one: at(one) <= at(row), some)) for some in (mine, theirs))  # noqa: B023
        said = [one for one in of(profiles, row, "user_id") if one["stamp"] + LAG_MS < row["stamp"]]
        listed = [one for one in of(catalog, row, "item_id") if one["stamp"] + LAG_MS < row["stamp"]]
        words = [one["type"] == ConsentGiven.AVRO for one in said if one["purpose"] == "training"]
        languages = [one["language"] for one in said if one["type"] == PreferencesChanged.AVRO]
        titles = [one["title"] for one in listed if one["title"] is not None]
        found[row["_partition"], row["_offset"]] = (
            len(own),
            [one["item_id"] for one in own][-10:],
            len(item),
            last(languages, None),
            last(titles, None),
            last(words, True),
        )
    return found


def of(events: list[dict[str, Any]], row: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The events of a row's key, as they became known."""
    mine = [one for one in events if one[key] == row[key]]
    return sorted(mine, key=lambda one: (one["stamp"], one["_partition"], one["_offset"]))


def at(event: dict[str, Any]) -> int:
    return min(int(event["occurred"]), int(event["stamp"]) * 1000 + 999)


def last(values: list[Any], default: Any) -> Any:
    return values[-1] if values else default


@settings(max_examples=40)
@given(logs)
def test_a_row_sees_what_the_rule_says(log: list[Said]) -> None:
    """The vectors must say what one would find by going through the log by hand."""
    rows, chosen = rows_of(log), list(features().values())
    seen = pl.concat(join(rows, context_of(log), chosen, LAG_MS).columns.values(), how="horizontal").select(NAIVE)
    assert dict(zip(rows.select("_partition", "_offset").rows(), seen.rows(), strict=True)) == naive(log)


def test_a_late_row_does_not_see_its_own_future() -> None:
    """What happened after an interaction is unknown to it, even when the log had it already; and it is counted."""
    log = [
        Said(
            InteractionRecorded.AVRO,
            "ana",
            10,
            (("item_id", "x"), ("kind", "view"), ("value", None), ("occurred_at", at)),
        )
        for at in (0, 60, 30)
    ]
    joined = join(rows_of(log), context_of(log), named(["user_interactions"]), LAG_MS)
    table = joined.columns["user_interactions"]
    assert table["user_interactions"].to_list() == [0, 1, 1]
    assert table["user_recency_s"].to_list() == [None, 3600.0, 1800.0]
    assert joined.late == 1


@given(st.lists(st.integers(0, 3 * 10**15), min_size=1, max_size=30), st.integers(1, 400))
def test_decay_is_what_the_formula_says(times: list[int], hours: int) -> None:
    """Spans and tables are there for the last bit; the value is the plain sum of halvings."""
    half_life = timedelta(hours=hours)
    clock = list(accumulate(times, max))
    events = pl.DataFrame({KEY: [0] * len(times), "at": times, "clock": clock})
    sums = decayed(masses(events, half_life).with_columns(at=pl.Series(clock)), half_life)
    unit = half_life / timedelta(microseconds=1)
    for place, now in enumerate(clock):
        plain = sum(2.0 ** -((now - at) / unit) for at in times[: place + 1])
        assert sums[place] == pytest.approx(plain, rel=1e-3)


def test_an_unknown_feature_is_named_with_those_there_are() -> None:
    """A typo must not give a dataset without the column."""
    with pytest.raises(Invalid, match=r"no feature user_shoe: there are item_catalogue, .*user_value"):
        named(["user_shoe"])


def test_a_row_alone_has_the_same_seconds_as_a_row_among_others() -> None:
    """To the last bit: 14 ms by a division are 0.014, by the reciprocal 0.013999999999999999."""
    waits = pl.DataFrame({"waits": [14_000, 3, 7_000_001]})
    together = waits.select(seconds(pl.col("waits")))
    alone = [part.select(seconds(pl.col("waits"))) for part in waits.iter_slices(1)]
    assert pl.concat(alone).equals(together)


@settings(max_examples=40)
@given(logs)
def test_shards_change_nothing(log: list[Said]) -> None:
    """How much is folded at once is a matter of memory alone."""
    assert known(log) == known(log, shard=2)
