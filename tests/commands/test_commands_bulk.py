"""Uploads: good lines are kept, bad ones reported, memory bounded."""

import json
import tracemalloc
import uuid
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from commands.api.bulk.lines import Splitter
from commands.api.identity import deriver, many_ids
from schemas.identity import derived_id

NDJSON = {"content-type": "application/x-ndjson"}
CSV = {"content-type": "text/csv"}


def line(item_id: str, **more: Any) -> bytes:
    return json.dumps(
        {"user_id": "u", "item_id": item_id, "kind": "view", "occurred_at": 1_700_000_000, **more}
    ).encode()


async def test_bad_lines_do_not_lose_the_others(write_side: Any) -> None:
    """A million lines and one typo: the typo is named, the rest is in."""
    item_id = await write_side.known_item()
    body = [
        line(item_id),
        b"not json",
        b"",
        line(item_id, kind="saw"),
        line("nothing"),
        line(item_id, id=""),
        b'["a list"]',
        line(item_id, note="x" * 30_000),
        line(item_id, id="mine"),
    ]
    answer = await write_side.call("POST", "/interactions/bulk", data=b"\n".join(body), headers=NDJSON)
    assert (answer.status, answer.body["accepted"], answer.body["refused"]) == (200, 2, 6)
    found = {problem["line"]: problem["code"] for problem in answer.body["problems"]}
    assert found == {
        2: "malformed_line",
        4: "invalid",
        5: "unknown_item",
        6: "invalid",
        7: "malformed_line",
        8: "line_too_long",
    }
    assert answer.body["positions"]


async def test_only_the_first_problems_are_told_but_all_are_counted(write_side: Any) -> None:
    """An upload of the wrong file may not answer with a gigabyte."""
    answer = await write_side.call("POST", "/interactions/bulk", data=b"x\n" * 1000, headers=NDJSON)
    assert (answer.body["refused"], len(answer.body["problems"])) == (1000, 100)


async def test_a_table_can_be_uploaded(write_side: Any) -> None:
    """Most data that people have is CSV."""
    item_id = await write_side.known_item()
    rows = [
        "id,user_id,item_id,kind,value,occurred_at",
        f"a,u,{item_id},rate,4.5,2026-03-01T12:00:00Z",
        f'b,"u, and me",{item_id},view,,1700000000',
        f"c,u,{item_id},rate,much,2026-03-01T12:00:00Z",
        f"d,u,{item_id},rate",
        f'e,u,"{item_id},rate,4.5,2026-03-01T12:00:00Z',
    ]
    answer = await write_side.call("POST", "/interactions/bulk", data="\n".join(rows), headers=CSV)
    assert (answer.body["accepted"], answer.body["refused"]) == (2, 3), answer.body
    assert [problem["line"] for problem in answer.body["problems"]] == [4, 5, 6]


async def test_a_wrong_header_is_one_problem_not_a_million(write_side: Any) -> None:
    """Every line below it would be wrong for the same reason."""
    data = "user,item_id,kind,occurred_at\nu,i,view,1\n"
    answer = await write_side.call("POST", "/interactions/bulk", data=data, headers=CSV)
    assert (answer.status, answer.code) == (422, "bad_csv_header")
    assert {error["pointer"] for error in answer.body["errors"]} == {"/user", "/user_id"}


async def test_an_upload_over_the_limit_says_how_far_it_came(write_side: Any) -> None:
    """What was accepted stays, so the client has to know where to go on."""
    item_id = await write_side.known_item()
    row = line(item_id) + b"\n"

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield row * (40_000 // len(row))

    answer = await write_side.call("POST", "/interactions/bulk", data=endless(), headers=NDJSON)
    assert (answer.status, answer.code) == (413, "body_too_large")
    assert 10_000 < answer.body["accepted"] < 25_000


@given(st.lists(st.binary(max_size=30)), st.integers(1, 40))
def test_lines_are_the_same_however_the_body_is_cut(lines: list[bytes], size: int) -> None:
    """Where the network cuts is chance."""
    body = b"\n".join(lines)
    splitter = Splitter(20)
    cut = [found for i in range(0, len(body), size) for found in splitter.feed(body[i : i + size])]
    cut += splitter.end()
    whole = [(n, None if len(text) > 20 else text.strip()) for n, text in enumerate(body.split(b"\n"), 1)]
    assert cut == [(n, text) for n, text in whole if text is None or text]


def test_a_line_without_end_takes_no_memory() -> None:
    """A body without a newline is the simplest attack there is."""
    splitter, chunk = Splitter(10_000), b"x" * 65_536
    tracemalloc.start()
    for _ in range(500):
        assert list(splitter.feed(chunk)) == []
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    assert list(splitter.feed(b"\nok\n")) == [(1, None), (2, b"ok")]


def test_ids_made_in_bulk_are_new_and_well_formed() -> None:
    """They are what deduplication goes by."""
    source = many_ids()
    ids = [uuid.UUID(next(source)) for _ in range(5000)]
    assert len(set(ids)) == 5000
    assert {(id.version, id.variant) for id in ids} == {(7, uuid.RFC_4122)}
    assert all(a < b for a, b in pairwise(ids[:1000]))


@given(st.text(min_size=1, max_size=50).filter(str.isprintable))
def test_the_quick_way_to_derive_an_id_gives_the_same_id(key: str) -> None:
    """A line's id and an Idempotency-Key of the same name are the same fact."""
    assert deriver("default")(key) == str(derived_id("default", key))
