"""Named uploads: interrupted, gone on with, sent again, and never counted twice."""

import asyncio
import contextlib
import gzip
import io
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import fastavro
import pytest

from commands.api.bulk.inflate import Inflate
from commands.api.bulk.quotes import Rows
from infra.kafka.ranges import ranges_now
from infra.kafka.replay import recorded
from infra.registry.enlist import open_decoder
from schemas.errors import TooLarge

from ..eventually import eventually

NDJSON = {"content-type": "application/x-ndjson"}
AVRO = {"content-type": "application/avro"}
FOREIGN: dict[str, Any] = {
    "type": "record",
    "name": "shop.Event",
    "fields": [
        {"name": "user_id", "type": "bytes"},
        {"name": "item_id", "type": "string"},
        {"name": "kind", "type": {"type": "enum", "name": "shop.Kind", "symbols": ["view", "wish"]}},
        {"name": "occurred_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "page", "type": ["null", "string"]},
    ],
}


def lines(item_id: str, mark: str, count: int) -> bytes:
    rows = (
        {"user_id": f"{mark}-{n}", "item_id": item_id, "kind": "view", "occurred_at": 1_700_000_000}
        for n in range(count)
    )
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def container(item_id: str, count: int, codec: str = "deflate", schema: Any = None) -> bytes:
    records = [
        {"user_id": b"u", "item_id": item_id, "kind": "wish", "occurred_at": 1_700_000_000_000 + n, "page": None}
        for n in range(count)
    ]
    file = io.BytesIO()
    fastavro.writer(file, fastavro.parse_schema(schema or FOREIGN), records, codec=codec, sync_interval=1_000)
    return file.getvalue()


async def ids_of(write_side: Any, mark: str) -> list[str]:
    """Event ids on record of the users of one test."""
    decoder = await open_decoder(write_side.settings)
    ranges = await ranges_now(write_side.settings, ["interactions"])
    found = [one async for one in recorded(write_side.settings, decoder, ranges)]
    return [str(one.meta.id) for one in found if getattr(one.event, "user_id", "").startswith(mark)]


async def test_an_interrupted_upload_goes_on_where_it_was_durable(write_side: Any) -> None:
    """A gigabyte over a train's network: nobody wants to begin again, nor to count anything twice."""
    item_id, upload_id = await write_side.known_item(), f"u-{uuid.uuid4().hex}"
    body = lines(item_id, upload_id, 4_000)

    async def broken() -> AsyncIterator[bytes]:
        yield body[:200_000]
        await eventually(confirmed, every_s=0.05)
        raise ConnectionResetError

    async def progress() -> dict[str, Any]:
        known = await write_side.call("GET", f"/interactions/bulk/{upload_id}")
        return known.body if known.status == 200 else {}

    async def confirmed() -> bool:
        return bool((await progress()).get("confirmed_bytes"))

    async def interrupted() -> bool:
        return (await progress()).get("state") == "interrupted"

    with contextlib.suppress(aiohttp.ClientError, ConnectionResetError):
        await write_side.call("POST", "/interactions/bulk", data=broken(), headers=NDJSON | {"upload-id": upload_id})
    await eventually(interrupted, every_s=0.05)
    known = await write_side.call("GET", f"/interactions/bulk/{upload_id}")
    at = known.body["confirmed_bytes"]
    assert 0 < at <= 200_000
    assert body[at - 1 : at] == b"\n"
    assert known.headers["upload-complete"] == "?0"
    rest = await write_side.call(
        "POST",
        "/interactions/bulk",
        data=body[at:],
        headers=NDJSON | {"upload-id": upload_id, "upload-offset": str(at)},
    )
    assert (rest.status, rest.body["accepted"]) == (200, 4_000), rest.body
    again = await write_side.call("POST", "/interactions/bulk", data=body, headers=NDJSON | {"upload-id": upload_id})
    assert (again.body["accepted"], again.headers["idempotent-replayed"]) == (4_000, "true")
    ids = await ids_of(write_side, upload_id)
    assert (len(ids), len(set(ids))) == (4_000, 4_000)


async def test_what_is_durable_is_on_record_while_a_client_pauses(write_side: Any) -> None:
    """A kill in the pause would else lose all that came before it, and a client that asks would see too little."""
    item_id, upload_id = await write_side.known_item(), f"u-{uuid.uuid4().hex}"
    body, seen = lines(item_id, upload_id, 40), asyncio.Event()

    async def pausing() -> AsyncIterator[bytes]:
        yield body
        await seen.wait()

    async def all_of_it() -> bool:
        known = await write_side.call("GET", f"/interactions/bulk/{upload_id}")
        return known.status == 200 and (known.body["state"], known.body["confirmed_bytes"]) == ("running", len(body))

    headers = NDJSON | {"upload-id": upload_id}
    sending = asyncio.create_task(write_side.call("POST", "/interactions/bulk", data=pausing(), headers=headers))
    await eventually(all_of_it, every_s=0.1)
    seen.set()
    assert (await sending).body["accepted"] == 40


async def test_a_part_at_a_time_and_then_the_whole_file(write_side: Any) -> None:
    """The whole file again is the simplest way to resume: what is confirmed is compared and skipped."""
    item_id, upload_id = await write_side.known_item(), f"u-{uuid.uuid4().hex}"
    body = lines(item_id, upload_id, 300)
    headers = NDJSON | {"upload-id": upload_id}
    first = await write_side.call(
        "POST", "/interactions/bulk", data=body[:10_000], headers=headers | {"upload-complete": "?0"}
    )
    assert 0 < first.body["accepted"] < 300
    changed = await write_side.call("POST", "/interactions/bulk", data=b" " + body, headers=headers)
    assert (changed.status, changed.code) == (422, "upload_changed")
    wrong = await write_side.call("POST", "/interactions/bulk", data=body, headers=headers | {"upload-offset": "7"})
    assert (wrong.status, wrong.code) == (409, "upload_offset_mismatch")
    whole = await write_side.call(
        "POST", "/interactions/bulk", data=gzip.compress(body), headers=headers | {"content-encoding": "gzip"}
    )
    assert (whole.status, whole.body["accepted"]) == (200, 300), whole.body
    assert len(await ids_of(write_side, upload_id)) == 300


async def test_two_at_once_are_one_too_many(write_side: Any) -> None:
    """Both would confirm places that the other has not reached."""
    item_id, upload_id = await write_side.known_item(), f"u-{uuid.uuid4().hex}"
    gate = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield lines(item_id, upload_id, 1)
        await gate.wait()

    headers = NDJSON | {"upload-id": upload_id}
    first = asyncio.create_task(write_side.call("POST", "/interactions/bulk", data=slow(), headers=headers))

    async def begun() -> bool:
        return bool((await write_side.call("GET", f"/interactions/bulk/{upload_id}")).status == 200)

    await eventually(begun)
    second = await write_side.call("POST", "/interactions/bulk", data=b"", headers=headers)
    gate.set()
    assert (second.status, second.code) == (409, "upload_running")
    assert (await first).body["accepted"] == 1


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy", "zstandard", "bzip2", "xz"])
async def test_a_foreign_avro_file_is_resolved(write_side: Any, codec: str) -> None:
    """Files come from other systems, with their own names and their own units of time."""
    item_id = await write_side.known_item()
    answer = await write_side.call("POST", "/interactions/bulk", data=container(item_id, 200, codec), headers=AVRO)
    assert (answer.status, answer.body["accepted"], answer.body["refused"]) == (200, 200, 0), answer.body


async def test_an_avro_file_that_does_not_fit_names_the_field(write_side: Any) -> None:
    """One problem at the header, not one a record."""
    fields = [field for field in FOREIGN["fields"] if field["name"] != "item_id"]
    schema = FOREIGN | {"fields": fields}
    answer = await write_side.call("POST", "/interactions/bulk", data=container("x", 1, schema=schema), headers=AVRO)
    assert (answer.status, answer.code) == (422, "incompatible_schema")
    assert [error["pointer"] for error in answer.body["errors"]] == ["/item_id"]


async def test_a_damaged_block_is_named_and_those_before_it_are_kept(write_side: Any) -> None:
    """A file cut short on its way is the usual fault."""
    item_id = await write_side.known_item()
    body = container(item_id, 400)
    answer = await write_side.call("POST", "/interactions/bulk", data=body[:-40], headers=AVRO)
    assert (answer.status, answer.code) == (422, "corrupt_block")
    assert answer.body["block"] == answer.body["blocks_kept"] + 1
    assert 0 < answer.body["accepted"] < 400


def test_a_forgotten_quote_costs_one_line() -> None:
    """It must not swallow the upload: the line it opened on is named, the next ones are read."""
    rows = Rows(1_000_000)
    body = b'a,"two\nlines",c\nb,"open,c\n' + b"d,e,f\n" * 20_000
    cut = [one for at in range(0, len(body), 4_096) for one in rows.feed(body[at : at + 4_096])]
    assert cut[0] == (1, b'a,"two\nlines",c')
    assert cut[1][0] == 3
    assert "opens on line 3" in str(cut[1][1])
    assert (len(cut), cut[-1]) == (20_002, (20_003, b"d,e,f"))


def test_a_decompression_bomb_is_refused() -> None:
    """A megabyte on the wire may be a gigabyte behind it."""
    bomb = gzip.compress(bytes(64 * 1024 * 1024))
    inflate = Inflate("gzip")
    with pytest.raises(TooLarge) as refused:
        for _ in inflate.feed(bomb):
            pass
    assert refused.value.code == "decompression_bomb"
