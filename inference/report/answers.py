"""What was answered: how often, by which version, how fast, and when it had to fall back."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from inference.report.people import People
from inference.report.sequences import Sequences
from inference.report.tally import FINE, PER_DOUBLING, Tally

LEEWAY = timedelta(seconds=60)
"""How long after a withdrawal or an erasure an answer may still not know of it: read models take a moment."""

MOST_LISTED = 20

SLICE = 10_000
"""Records that are looked at together."""

HISTORY_BINS = (0, 1, 2, 3, 6, 11, 21, 51, 101)
"""Lengths of history at which a bin begins."""


@dataclass(frozen=True)
class Breach:
    """Answers that should not have been given, or not so.

    Attributes:
        count: how many.
        positions: of the first of them.
    """

    count: int = 0
    positions: tuple[str, ...] = ()

    def with_more(self, positions: Collection[str]) -> "Breach":
        """These and more."""
        return Breach(self.count + len(positions), (*self.positions, *positions)[:MOST_LISTED])


class Answers:
    """The fold of `decisions` over the period.

    Args:
        people: who has withdrawn or was erased.
        categories: table of `item_id` and `category`, one row for each category of an item.
        model: look at this model alone; None for all.
    """

    def __init__(self, people: People, categories: pl.DataFrame, model: str | None = None) -> None:
        self._categories = categories
        self._model = model
        self._erased = {user: erasure.at for user, erasure in people.erased.items()}
        self._refused = _refused(people)
        self.sequences = Sequences()
        self.tally = Tally()
        self.items: defaultdict[tuple[str, int | None], Counter[str]] = defaultdict(Counter)
        self.to_erased = Breach()
        self.without_consent = Breach()
        self.repeated = 0
        self.slowest_ms: Counter[str] = Counter()

    def take(self, table: pl.DataFrame) -> None:
        """The next records, a few thousand at a time: each becomes a row for every item that it shows."""
        for rows in table.iter_slices(SLICE):
            self._take(rows)

    def _take(self, table: pl.DataFrame) -> None:
        first = table.filter(self.sequences.take(table))
        self.repeated += len(table) - len(first)
        rows = first if self._model is None else first.filter(pl.col("model") == self._model)
        if len(rows) == 0:
            return
        self._count(rows)
        self._look_after(rows)

    def _count(self, rows: pl.DataFrame) -> None:
        seconds = rows["served_at"].dt.epoch("s")
        first, last = seconds.min(), seconds.max()
        assert isinstance(first, int)
        assert isinstance(last, int)
        self.tally.widen(first, last)
        step = self.tally.step_s
        counted = rows.select(
            "model",
            "version",
            "source",
            "artifact_sha256",
            pl.col("fallback_reason").fill_null("").alias("reason"),
            (seconds - seconds % step).alias("start"),
            _history_bin(rows["history_length"]).alias("history"),
            _log_bin(pl.col("latency_ms")).alias("latency"),
            _log_bin(pl.col("items").list.first().struct.field("score"), FINE).alias("score"),
            pl.col("items").list.eval(pl.element().struct.field("item_id")).alias("items"),
        )
        self._dimensions(counted)
        self._shown(counted)
        for model, slowest in rows.group_by("model").agg(pl.col("latency_ms").max()).iter_rows():
            self.slowest_ms[model] = max(self.slowest_ms[model], slowest)

    def _dimensions(self, counted: pl.DataFrame) -> None:
        self._add("source", counted, "source")
        self._add("reason", counted.filter(pl.col("reason") != ""), "reason")
        self._add("history", counted, "history")
        self._add("artifact", counted, "artifact_sha256")
        self._add("latency", counted, "latency")
        self._add("score", counted.filter((pl.col("source") == "model") & pl.col("score").is_not_null()), "score")

    def _shown(self, counted: pl.DataFrame) -> None:
        """The items that were answered, and their categories."""
        shown = counted.explode("items").filter(pl.col("items").is_not_null())
        for model, version, item, count in _groups(shown, "model", "version", "items"):
            self.items[model, version][item] += count
        named = shown.join(self._categories, left_on="items", right_on="item_id", how="left")
        self._add("category", named.with_columns(pl.col("category").fill_null("without a category")), "category")

    def _add(self, dimension: str, rows: pl.DataFrame, column: str) -> None:
        for start, model, version, value, count in _groups(rows, "start", "model", "version", column):
            self.tally.add(start, (dimension, model, version, value), count)

    def _look_after(self, rows: pl.DataFrame) -> None:
        """Answers to people who had been erased, and with the history of people who had refused."""
        concerned = rows.filter(pl.col("user_id").is_in([*self._erased, *self._refused]))
        erased, refused = [], []
        for row in concerned.select(
            "user_id", "served_at", "history_length", "_topic", "_partition", "_offset"
        ).iter_rows():
            user, at, history, *place = row
            position = "/".join(map(str, place))
            if user in self._erased and at > self._erased[user] + LEEWAY:
                erased.append(position)
            elif history and _is_refused(self._refused.get(user, ()), at):
                refused.append(position)
        self.to_erased = self.to_erased.with_more(erased)
        self.without_consent = self.without_consent.with_more(refused)


def _groups(rows: pl.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    return rows.group_by(*columns).len().rows()


def _history_bin(lengths: pl.Series) -> pl.Series:
    """Where the bin of each length begins."""
    places = np.searchsorted(HISTORY_BINS, lengths.to_numpy(), side="right") - 1
    return pl.Series(np.array(HISTORY_BINS)[np.maximum(places, 0)])


def _log_bin(value: pl.Expr, per_doubling: int = PER_DOUBLING) -> pl.Expr:
    """Bin of a logarithmic histogram; null for what has no logarithm."""
    return pl.when(value > 0).then((value.log(2) * per_doubling).floor().cast(pl.Int32))


def _refused(people: People) -> Mapping[str, list[tuple[datetime, bool]]]:
    """By user, each word on personalisation."""
    found = {
        user: [(word.at, word.given) for word in words if word.purpose == "personalisation"]
        for user, words in people.words.items()
    }
    return {user: words for user, words in found.items() if words}


def _is_refused(words: Collection[tuple[datetime, bool]], at: datetime) -> bool:
    """Whether the use was forbidden at a time, and had been for so long that everybody knew."""
    before = [(when, given) for when, given in words if when <= at]
    return bool(before) and not before[-1][1] and at > before[-1][0] + LEEWAY
