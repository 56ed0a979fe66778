"""Kept gists must give what counting the log anew gives, or an answer of the live counts would be explained wrongly."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import inference.counting.pairs
import inference.counting.seen
from inference.counting.fold import CoOccurrence, Met
from inference.counting.gist import ERASED, GIVEN, WITHDRAWN, Gist, Rows
from inference.counting.histories import Histories
from inference.counting.names import Names
from inference.counting.near import Row, top_row
from inference.counting.pairs import counted, counted_of
from inference.counting.scratch import counted_rows
from inference.counting.seen import NOT_CHOSEN, Seen, hash_of
from inference.counting.words import Words
from schemas.interactions import InteractionRecorded
from schemas.models import OffsetRange
from schemas.profiles import ConsentGiven, ConsentWithdrawn, UserErased

from .test_counting import logs, pairs_of

STEP = 3
"""Offsets from one event to the next: a log has gaps."""

Word = tuple[str, int]


def table(log: Sequence[Met], first: int) -> pl.DataFrame:
    """As `replay` gives it."""
    return pl.DataFrame(
        {
            "_offset": pl.Series([STEP * (first + n) for n in range(len(log))], dtype=pl.Int64),
            "_id": pl.Series([one.id for one in log], dtype=pl.String),
            "user_id": pl.Series([one.user for one in log], dtype=pl.String),
            "item_id": pl.Series([one.item for one in log], dtype=pl.String),
            "kind": pl.Series([one.kind for one in log], dtype=pl.String),
            "occurred_at": pl.Series([one.at_us for one in log], dtype=pl.Int64).cast(pl.Datetime("us", "UTC")),
        }
    )


def gists(log: Sequence[Met], cuts: Sequence[int]) -> list[tuple[list[Gist], int]]:
    """The log in parts that end at these places, each as gists that were kept and read again, and its end."""
    found = []
    bounds = sorted({0, len(log), *(cut % (len(log) + 1) for cut in cuts)})
    for start, end in pairwise(bounds):
        rows = Rows("interactions", 16)
        rows.add({InteractionRecorded.AVRO: table(log[start:end], start)})
        parts = [
            OffsetRange(topic="interactions", partition=0, first=STEP * one, end=STEP * other)
            for one, other in pairwise(sorted({start, (start + end) // 2, end}))
        ]
        found.append(([Gist.parse(gist.dump()) for gist in rows.gists(parts)], STEP * end))
    return found


def rows(histories: Histories, names: Names, items: set[str], **asked: object) -> dict[str, Row]:
    numbers = {item: number for item in items if (number := names.known(item)) is not None}
    counts = histories.followers(numbers.values(), **asked)  # type: ignore[arg-type]
    found = {item: top_row(*counts.row(number), names.names.__getitem__) for item, number in numbers.items()}
    return {item: row for item, row in found.items() if row.total}


@given(
    log=logs(),
    cuts=st.lists(st.integers(0, 99), max_size=4),
    silent=st.sets(st.sampled_from(["u0", "u1", "u2", "nobody"])),
    gone=st.sets(st.integers(0, 70)),
    reached=st.integers(0, 220),
)
def test_kept_histories_give_what_the_log_gives(
    log: list[Met], cuts: list[int], silent: set[str], gone: set[int], reached: int
) -> None:
    """However they grew, at every moment of the past, whoever is silent, whatever had not happened: the same rows."""
    users, items = Names(), Names()
    histories = Histories(users, items)
    for some, end in gists(log, cuts):
        histories.add(some, end)
        histories.add(some, end)  # once more does no harm
    ids = {log[place].id for place in gone if place < len(log)}
    before = [one for place, one in enumerate(log) if STEP * place < reached and one.id not in ids]
    asked = {f"i{number}" for number in range(9)}
    found = rows(
        histories,
        items,
        asked,
        end=reached,
        silent={number for user in silent if (number := users.known(user)) is not None},
        gone={STEP * place for place, one in enumerate(log) if one.id in ids},
    )
    assert found == counted_rows(table(before, 0), asked, silent)


@given(log=logs(), cuts=st.lists(st.integers(0, 99), max_size=4))
def test_the_fold_goes_on_from_gists(log: list[Met], cuts: list[int]) -> None:
    """A counter that starts from what was kept counts as one that met every single event."""
    whole, begun = CoOccurrence(), CoOccurrence()
    whole.meet(log)
    reached = 0
    for some, end in gists(log, cuts)[:-1]:
        begun.meet_all(some)
        reached = end // STEP
    begun.meet(log[reached:])
    assert pairs_of(begun) == pairs_of(whole)


def said(words: Sequence[Word]) -> list[Gist]:
    """As gists of `profiles`."""
    found = Rows("profiles", 16)
    for offset, (user, word) in enumerate(words):
        avro = {WITHDRAWN: ConsentWithdrawn.AVRO, GIVEN: ConsentGiven.AVRO, ERASED: UserErased.AVRO}[word]
        row = {"_offset": [offset], "_id": [f"id{offset}"], "user_id": [user], "purpose": ["training"]}
        other = row | {"purpose": ["personalisation"]}
        found.add({avro: pl.DataFrame(row)})
        found.add({ConsentWithdrawn.AVRO: pl.DataFrame(other)})
    middle = len(words) // 2
    bounds = pairwise(sorted({0, middle, len(words)}))
    parts = [OffsetRange(topic="profiles", partition=0, first=one, end=other) for one, other in bounds]
    return [Gist.parse(gist.dump()) for gist in found.gists(parts)]


@given(
    words=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([WITHDRAWN, GIVEN, ERASED])), max_size=12),
    end=st.integers(0, 13),
)
def test_the_last_word_counts_and_erasure_is_for_good(words: list[Word], end: int) -> None:
    """At any moment of the past: what somebody said later was not known."""
    names = Names()
    heard = Words(names)
    heard.add(said(words), len(words))
    heard.add(said(words), len(words))
    last = {user: word for user, word in words[:end] if word != ERASED}
    assert {names.names[number] for number in heard.withdrawn(end)} == {u for u, w in last.items() if w == WITHDRAWN}
    assert {names.names[number] for number in heard.erased(end)} == {u for u, w in words[:end] if w == ERASED}


@given(hashes=st.lists(st.integers(0, 6), max_size=60), cuts=st.lists(st.integers(0, 60), max_size=4))
def test_an_id_comes_for_the_first_time_once(hashes: list[int], cuts: list[int]) -> None:
    """Few at once or many, kept apart or in order: what came before is known, and what was not chosen always counts."""
    expected = [one == NOT_CHOSEN or one not in hashes[:place] for place, one in enumerate(hashes)]
    for few in (0, 2, 100):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(inference.counting.seen, "FEW", few)
            seen, found = Seen(), list[bool]()
            for start, end in pairwise(sorted({0, len(hashes), *(min(cut, len(hashes)) for cut in cuts)})):
                found += seen.first(np.array(hashes[start:end], np.uint64)).tolist()
            assert found == expected
    assert hash_of("id", "ana") != hash_of("id", "bo")


@given(log=logs(), wanted=st.sets(st.integers(0, 6)))
def test_pairs_are_counted_alike_in_both_ways(log: list[Met], wanted: set[int]) -> None:
    """Many items or few, all pairs or those of some items: the same counts."""
    order = sorted(log, key=lambda one: one.user)
    user = np.array([int(one.user[1:]) for one in order], np.int32)
    item = np.array([int(one.item[1:]) for one in order], np.int32)
    of = np.isin(item, list(wanted))
    found = []
    for dense in (0, 1 << 20):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(inference.counting.pairs, "DENSE", dense)
            whole, some = counted(user, item), counted_of(user, item, of)
            found.append([*(a.tolist() for a in (whole.keys, whole.counts, some.keys, some.counts))])
        kept = np.isin(whole.keys >> 32, list(wanted))
        assert some.keys.tolist() == whole.keys[kept].tolist()
        assert some.counts.tolist() == whole.counts[kept].tolist()
    assert found[0] == found[1]
