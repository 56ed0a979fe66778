"""MovieLens-100K: the data of the demo, 100 000 timed ratings of 943 people for 1 682 films.

It is read out of the `recbole` package, whose examples carry it whole. Terms of MovieLens: research use, acknowledge
GroupLens (Harper and Konstan 2015, The MovieLens datasets: history and context).
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from infra.stack.cache import environment

FOLDER = "lib/python*/site-packages/recbole/dataset_example/ml-100k"


@dataclass(frozen=True)
class Viewer:
    """Who rates."""

    user_id: str
    age: int
    gender: str
    occupation: str
    zip_code: str


@dataclass(frozen=True)
class Film:
    """What is rated; `year` is None where the data has none."""

    item_id: str
    title: str
    year: int | None
    genres: tuple[str, ...]


@dataclass(frozen=True)
class Rating:
    """How somebody rated a film, 1 to 5, and when, in microseconds since the epoch."""

    user_id: str
    item_id: str
    rating: float
    occurred_at: int


@dataclass(frozen=True)
class MovieLens:
    """The whole data set; ratings by time, at one time in the order of the file."""

    users: tuple[Viewer, ...]
    items: tuple[Film, ...]
    ratings: tuple[Rating, ...]


def load(cache_dir: Path) -> MovieLens:
    """The data set, downloaded the first time.

    Raises:
        Unavailable: the download failed; the message says what to do.
    """
    folder = folder_of(cache_dir)
    ratings = sorted((_rating(row) for row in _rows(folder / "ml-100k.inter")), key=lambda r: r.occurred_at)
    return MovieLens(
        users=tuple(_viewer(row) for row in _rows(folder / "ml-100k.user")),
        items=tuple(_film(row) for row in _rows(folder / "ml-100k.item")),
        ratings=tuple(ratings),
    )


def folder_of(cache_dir: Path) -> Path:
    """Where its files are.

    Raises:
        Unavailable: as `load`.
    """
    return next(environment(cache_dir, "movielens").glob(FOLDER))


def _rows(file: Path) -> Iterator[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield {name.split(":")[0]: value for name, value in row.items()}


def _viewer(row: dict[str, str]) -> Viewer:
    return Viewer(row["user_id"], int(row["age"]), row["gender"], row["occupation"], row["zip_code"])


def _film(row: dict[str, str]) -> Film:
    year = row["release_year"].strip()
    return Film(
        item_id=row["item_id"],
        title=row["movie_title"].strip(),
        year=int(year) if year.isdecimal() else None,
        genres=tuple((row["class"] or "").split()),
    )


def _rating(row: dict[str, str]) -> Rating:
    occurred_at = int(float(row["timestamp"])) * 1_000_000
    return Rating(row["user_id"], row["item_id"], float(row["rating"]), occurred_at)
