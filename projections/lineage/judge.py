"""Which of some interactions a training run let into its dataset, by what the log says of the run.

The rules are those that a dataset is built by, in their order: within the ranges, an id that a client chose counts once
for each user, some kinds say nothing, whoever had been erased or had withdrawn consent to training is left out. All
that they depend on is on record for each run, so this guesses nothing; a test holds it against the built datasets.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import polars as pl

from infra.index.reading import Way
from infra.kafka.columns import client_chosen
from schemas.models import OffsetRange

INTERACTIONS, PROFILES = "interactions", "profiles"
PLACE = ["_partition", "_offset"]
ROW: Mapping[str, Any] = {
    "_partition": pl.Int32,
    "_offset": pl.Int64,
    "_id": pl.String,
    "user_id": pl.String,
    "item_id": pl.String,
    "kind": pl.String,
}
"""What has to be known of an interaction."""

WORD: Mapping[str, Any] = {"_partition": pl.Int32, "_offset": pl.Int64, "user_id": pl.String, "word": pl.String}
"""What a person has said, or what became of them: `given`, `withdrawn` (of training), `erased`."""

Ends: TypeAlias = Mapping[int, int]


@dataclass(frozen=True)
class Recipe:
    """How a run made its dataset.

    Attributes:
        ranges: the part of the log that it read.
        erasures: the part of the profiles that it looked through for erasures.
        silent_kinds: kinds left out.
    """

    ranges: tuple[OffsetRange, ...]
    erasures: tuple[OffsetRange, ...]
    silent_kinds: tuple[str, ...]


@dataclass(frozen=True)
class Matter:
    """The interactions that somebody asks about.

    Attributes:
        rows: with the columns of `ROW`.
        repeats: every occurrence of the ids among them that clients chose, of the same users; same columns.
        words: of their users, with the columns of `WORD`.
        ways: how each part of the log was read to find them.
    """

    rows: pl.DataFrame
    repeats: pl.DataFrame
    words: pl.DataFrame
    ways: tuple[Way, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What a run's dataset has of them.

    Attributes:
        rows: interactions that are in it.
        users: how many people they are of.
        items: how many items they are with.
        left_out: how many are not, by why.
        first: where the first of them stands, as `topic/partition/offset`; None when there are none.
        last: where the last one stands.
    """

    rows: int = 0
    users: int = 0
    items: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    first: str | None = None
    last: str | None = None


def judge(recipe: Recipe, matter: Matter) -> Verdict:
    """What of the matter is in the dataset that the recipe makes."""
    inside = _within(matter.rows, recipe.ranges)
    fresh = inside.join(_repeated(_within(matter.repeats, recipe.ranges)), on=PLACE, how="anti")
    spoken = fresh.filter(~pl.col("kind").is_in(list(recipe.silent_kinds)))
    there = spoken.filter(~pl.col("user_id").is_in(_erased(matter.words, recipe.erasures)))
    kept = there.filter(~pl.col("user_id").is_in(_withdrawn(matter.words, recipe.ranges)))
    stages = [matter.rows, inside, fresh, spoken, there, kept]
    names = ("outside", "repeated", "silent", "erased", "withdrawn")
    left = {name: len(a) - len(b) for name, a, b in zip(names, stages, stages[1:], strict=False)}
    return _verdict(kept.sort(PLACE), {name: count for name, count in left.items() if count})


def _verdict(kept: pl.DataFrame, left_out: Mapping[str, int]) -> Verdict:
    if not len(kept):
        return Verdict(left_out=left_out)
    places = [f"{INTERACTIONS}/{kept['_partition'][at]}/{kept['_offset'][at]}" for at in (0, -1)]
    return Verdict(len(kept), kept["user_id"].n_unique(), kept["item_id"].n_unique(), left_out, places[0], places[1])


def _within(rows: pl.DataFrame, ranges: Iterable[OffsetRange]) -> pl.DataFrame:
    inside = pl.lit(False)
    for part in ranges:
        if part.topic == INTERACTIONS:
            offsets = pl.col("_offset").is_between(part.first, part.end, closed="left")
            inside = inside | ((pl.col("_partition") == part.partition) & offsets)
    return rows.filter(inside)


def _repeated(occurrences: pl.DataFrame) -> pl.DataFrame:
    """The places of all but the first occurrence of each id."""
    return occurrences.sort(PLACE).filter(pl.struct("_id", "user_id").is_first_distinct().not_()).select(PLACE)


def _erased(words: pl.DataFrame, erasures: Iterable[OffsetRange]) -> Collection[str]:
    known = _before(words, _ends(erasures))
    return known.filter(pl.col("word") == "erased")["user_id"].unique().to_list()


def _withdrawn(words: pl.DataFrame, ranges: Iterable[OffsetRange]) -> Collection[str]:
    """Whose last word on training, in the ranges of the profiles, was no."""
    said = _before(words, _ends(ranges)).filter(pl.col("word") != "erased")
    last = said.sort(PLACE).unique("user_id", keep="last", maintain_order=True)
    return last.filter(pl.col("word") == "withdrawn")["user_id"].to_list()


def _ends(ranges: Iterable[OffsetRange]) -> Ends:
    return {part.partition: part.end for part in ranges if part.topic == PROFILES}


def _before(words: pl.DataFrame, ends: Ends) -> pl.DataFrame:
    known = pl.col("_partition").replace_strict(dict(ends), default=0, return_dtype=pl.Int64)
    return words.filter(pl.col("_offset") < known)


def chosen(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows whose ids were chosen by clients."""
    return rows.filter(client_chosen(pl.col("_id")))


def table(pieces: Sequence[pl.DataFrame], schema: Mapping[str, Any]) -> pl.DataFrame:
    """Pieces as one table of these columns."""
    found = [piece.select(pl.col(name).cast(kind) for name, kind in schema.items()) for piece in pieces]
    return pl.concat(found) if found else pl.DataFrame(schema=dict(schema))
