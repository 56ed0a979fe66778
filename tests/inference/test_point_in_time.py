"""Features may know nothing that the log did not know yet, nor anything that had not happened yet."""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import polars as pl
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

import inference.pointintime
from inference.context import FIELDS, Context, Spool
from inference.feature import KEY, features
from inference.manifest import COLUMNS
from inference.pointintime import counted, join
from schemas.catalog import ItemAdded, ItemChanged, ItemRetired
from schemas.interactions import InteractionRecorded
from schemas.profiles import ConsentGiven, ConsentWithdrawn, PreferencesChanged, UserRegistered

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
    """The events as a replay gives them, in log order."""
    offsets: dict[tuple[str, int], int] = {}
    pieces: list[tuple[str, int, int, str, pl.DataFrame]] = []
    for number, (one, stamp) in enumerate(zip(log, stamped(log), strict=True)):
        place = (one.topic, PARTITION[one.key])
        offset = offsets[place] = offsets.get(place, -1) + 1
        row = {
            "_partition": place[1],
            "_offset": offset,
            "_timestamp": START + timedelta(milliseconds=stamp),
            "_id": str(UUID(int=number | 7 << 76)),
            **dict(one.fields),
        }
        row["item_id" if one.topic == "catalog" else "user_id"] = one.key
        if "occurred_at" in row:
            row["occurred_at"] = START - timedelta(days=2) + timedelta(minutes=row["occurred_at"])
        kinds: dict[str, Any] = {
            name: kind for name, kind in {**INTERACTION, **FIELDS[one.topic]}.items() if name in row
        }
        times: dict[str, Any] = {"_timestamp": pl.Datetime("ms", "UTC"), "_partition": pl.Int32, "_offset": pl.Int64}
        pieces.append((one.topic, place[1], offset, one.type, pl.DataFrame([row], schema={**times, **kinds})))
    for topic, *_, type, table in sorted(pieces, key=lambda piece: piece[:3]):
        yield topic, {type: table}


def context_of(log: Sequence[Said], folder: Path) -> Context:
    spools = {topic: Spool(folder / topic, topic, unused=(), silent={"skip"}) for topic in FIELDS}
    for topic, piece in tables(log):
        spools[topic].take(piece)
    return Context({topic: spool.table() for topic, spool in spools.items()})


def rows_of(log: Sequence[Said]) -> pl.DataFrame:
    """The interactions of a log as rows of a dataset."""
    found = [piece[InteractionRecorded.AVRO] for topic, piece in tables(log) if topic == "interactions"]
    if not found:
        return pl.DataFrame(schema=dict(COLUMNS))
    common = [pl.lit("interactions").alias("_topic"), pl.lit(None, pl.String).alias("decision_id")]
    table = pl.concat(found).with_columns(*common).select(pl.col(name).cast(kind) for name, kind in COLUMNS.items())
    return table.filter(pl.col("kind") != "skip")


def known(log: Sequence[Said], lag_ms: int = LAG_MS, shard: int = 1000) -> dict[tuple[int, int], tuple[Any, ...]]:
    """Every feature of every interaction, by its position."""
    rows = rows_of(log)
    with tempfile.TemporaryDirectory() as folder:
        joined = join(rows, context_of(log, Path(folder)), list(features().values()), lag_ms, shard)
    said = pl.concat(joined.columns.values(), how="horizontal").rows()
    return dict(zip(rows.select("_partition", "_offset").rows(), map(repr, said), strict=True))  # type: ignore[arg-type]


def leaks(log: Sequence[Said], later: Said) -> bool:
    """Whether an event that is appended later changes what an earlier row knew."""
    before, after = known(log), known([*log, later])
    return any(after[place] != values for place, values in before.items())


later = st.tuples(event, st.integers(-9, 3)).map(lambda pair: Said(pair[0].type, pair[0].key, pair[1], pair[0].fields))


@settings(max_examples=150)
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
    monkeypatch.setattr(inference.pointintime, "_known", leaky)
    found = find(st.tuples(logs, later), lambda case: leaks(*case), settings=settings(max_examples=2000, deadline=None))
    assert found


@settings(max_examples=60)
@given(logs)
def test_shards_change_nothing(log: list[Said]) -> None:
    """How much is folded at once is a matter of memory alone."""
    assert known(log) == known(log, shard=2)
