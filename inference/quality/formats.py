"""Reading public data sets as they are handed round.

A folder with `train.txt` and, if somebody has split the data, `test.txt`, a line per user (`user item item ...`), no
order; a file `sequences.txt` of such lines in the order of time; or an atomic file of RecBole, `*.inter`, with columns
for user, item and time.
"""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from inference.interactions import Interactions
from schemas.errors import Invalid, NotFound

TRAIN, TEST, SEQUENCES, ATOMIC = "train.txt", "test.txt", "sequences.txt", "*.inter"

Lines = dict[str, list[str]]


@dataclass(frozen=True)
class Split:
    """Pairs that somebody split into training and test.

    Attributes:
        name: of the data set.
        test: None where it is still to be split off.
    """

    name: str
    train: Interactions
    test: Interactions | None


@dataclass(frozen=True)
class Sequences:
    """What each user met, in the order of time."""

    name: str
    histories: Lines


@dataclass(frozen=True)
class Timed:
    """Interactions with the time of each."""

    name: str
    interactions: Interactions


Data = Split | Sequences | Timed


def found(path: Path) -> list[Data]:
    """Every data set at a path: a file, a folder of files, or a folder of such folders.

    Raises:
        NotFound: there is none.
        Invalid: a line cannot be read; the message names file and line.
    """
    if path.is_file():
        return [_timed(path) if path.suffix == ".inter" else Sequences(path.stem, _lines(path))]
    if not path.is_dir():
        raise NotFound(f"there is nothing at {path}: name a folder with the data", code="no_data")
    here = _in_folder(path)
    below = [data for folder in sorted(p for p in path.iterdir() if p.is_dir()) for data in _in_folder(folder)]
    if not here and not below:
        wanted = f"{TRAIN} (with {TEST} where it is split), {SEQUENCES}, or {ATOMIC}"
        raise NotFound(f"{path} holds no data set: it takes {wanted}, there or in a folder below", code="no_data")
    return [*here, *below]


def _in_folder(folder: Path) -> Iterator[Data] | list[Data]:
    data: list[Data] = []
    if (folder / TEST).is_file() and not (folder / TRAIN).is_file():
        raise NotFound(f"{folder} has {TEST} and no {TRAIN}: there is nothing to learn from", code="no_data")
    if (folder / TRAIN).is_file():
        test = as_interactions(_lines(folder / TEST)) if (folder / TEST).is_file() else None
        data.append(Split(folder.name, as_interactions(_lines(folder / TRAIN)), test))
    if (folder / SEQUENCES).is_file():
        data.append(Sequences(folder.name, _lines(folder / SEQUENCES)))
    return [*data, *(_timed(file) for file in sorted(folder.glob(ATOMIC)))]


def as_interactions(lines: Lines) -> Interactions:
    """One interaction for each item; the place in its line stands for the time."""
    users = [user for user, items in lines.items() for _ in items]
    items = [item for held in lines.values() for item in held]
    times = [place for held in lines.values() for place in range(len(held))]
    return Interactions.of(users, items, [1.0] * len(items), times)


@contextmanager
def _reading(file: Path) -> Iterator[TextIO]:
    """The text of a file, with or without a mark at its beginning.

    Raises:
        Invalid: it is no text.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            yield text
    except UnicodeDecodeError as fault:
        raise Invalid(f"{file.name} is no text in UTF-8: {fault.reason}", code="bad_data") from fault


def _lines(file: Path) -> Lines:
    lines: Lines = {}
    with _reading(file) as text:
        for number, line in enumerate(text, start=1):
            names = line.split()
            if not names:
                continue
            if names[0] in lines:
                raise Invalid(f"{file.name}, line {number}: user {names[0]} has a line already", code="bad_data")
            lines[names[0]] = names[1:]
    if not any(lines.values()):
        raise Invalid(f"{file.name} has no items: a line is a user, then the user's items", code="bad_data")
    return lines


def _timed(file: Path) -> Timed:
    with _reading(file) as text:
        reader = csv.DictReader(text, delimiter="\t", quoting=csv.QUOTE_NONE)
        columns = {name.split(":")[0]: name for name in reader.fieldnames or ()}
        if missing := {"user_id", "item_id", "timestamp"} - columns.keys():
            raise Invalid(f"{file.name} has no column {', '.join(sorted(missing))}", code="bad_data")
        wanted = [columns[name] for name in ("user_id", "item_id", "timestamp")]
        rows = [_row(file, number, [row[name] for name in wanted]) for number, row in enumerate(reader, start=2)]
    rows.sort(key=lambda row: row[2])
    users, items, times = ([row[i] for row in rows] for i in range(3))
    return Timed(file.stem, Interactions.of(users, items, [1.0] * len(rows), times))  # type: ignore[arg-type]


def _row(file: Path, number: int, cells: Sequence[str | None]) -> tuple[str, str, int]:
    user, item, time = cells
    try:
        return str(user), str(item), int(float(str(time)) * 1_000_000)
    except (ValueError, OverflowError) as fault:
        raise Invalid(f"{file.name}, line {number}: '{time}' is no time", code="bad_data") from fault
