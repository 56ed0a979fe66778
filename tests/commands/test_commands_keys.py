"""API keys on a real log: made, used, rotated, revoked, and never seen where they should not be."""

import asyncio
import logging
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from infra.access.client import headers_of
from infra.access.key import parse
from infra.kafka.consumer import make_consumer
from infra.kafka.topics import physical
from infra.settings import HttpSettings, child_environment

from ..eventually import eventually
from .writing import Answer, WriteSide

ROOT = Path(__file__).resolve().parents[2]


async def made(write_side: WriteSide, *roles: str, **more: Any) -> dict[str, Any]:
    answer = await write_side.call("POST", "/api-keys", json={"name": "shop", "roles": roles, **more})
    assert answer.status == 201, answer
    assert answer.headers["cache-control"] == "no-store"
    body: dict[str, Any] = answer.body
    return body


async def register(write_side: WriteSide, key: str) -> Answer:
    headers = {"authorization": f"Bearer {key}"}
    return await write_side.call("POST", "/users", json={"user_id": uuid4().hex}, headers=headers)


async def becomes(write_side: WriteSide, key: str, wanted: str) -> None:
    """Wait until a request with this key is answered with this code."""

    async def is_so() -> bool:
        return bool((await register(write_side, key)).body.get("code", "ok") == wanted)

    await eventually(is_so)


async def everything(write_side: WriteSide, *topics: str) -> bytes:
    """All bytes of some topics: keys, values and headers."""
    consumer: AIOKafkaConsumer = make_consumer(write_side.settings)
    await consumer.start()
    try:
        names, numbers = [physical(write_side.settings, t) for t in topics], range(write_side.settings.kafka.partitions)
        consumer.assign(places := [TopicPartition(name, number) for name in names for number in numbers])
        ends, found = await consumer.end_offsets(places), b""
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            got = await consumer.getmany(timeout_ms=1000)
            for record in (record for records in got.values() for record in records):
                found += b" ".join([record.key or b"", record.value or b"", *(value for _, value in record.headers)])
        return found
    finally:
        await consumer.stop()


async def test_a_key_opens_for_its_role_and_signs_what_it_does(write_side: WriteSide) -> None:
    """The whole way: made by an admin, known a moment later, and its name stands in the event."""
    key = await made(write_side, "product")
    await becomes(write_side, key["key"], "ok")
    headers = {"authorization": f"Bearer {key['key']}"}
    refused = await write_side.call("POST", "/models/m/training-runs", json={"algorithm": "ease"}, headers=headers)
    assert (refused.status, refused.code) == (403, "role_missing")
    assert refused.body["roles_needed"] == ["engineer"]
    behalf = await write_side.call("POST", "/users", json={"user_id": "x"}, headers={**headers, "x-actor": "boss"})
    assert (behalf.status, behalf.code) == (403, "not_on_behalf")
    assert b"shop" in await everything(write_side, "profiles")


async def test_revoked_is_refused_at_once(write_side: WriteSide) -> None:
    """A leaked key must not open for as long as some cache lives."""
    key = await made(write_side, "product")
    await becomes(write_side, key["key"], "ok")
    answer = await write_side.call("DELETE", f"/api-keys/{key['key_id']}", json={"reason": "leaked"})
    assert answer.body["events"] == ["ApiKeyRevoked"]
    await becomes(write_side, key["key"], "revoked_key")
    again = await write_side.call("DELETE", f"/api-keys/{key['key_id']}")
    assert (again.status, again.body["events"]) == (200, [])
    rotated = await write_side.call("POST", f"/api-keys/{key['key_id']}/rotate")
    assert (rotated.status, rotated.code) == (409, "key_revoked")


async def test_a_rotated_key_opens_with_both_secrets_until_the_grace_ends(write_side: WriteSide) -> None:
    """Clients are given the new one without an outage, and the old one ends by itself."""
    for grace_s, told in ((3600, "ok"), (1, "rotated_key")):
        old = await made(write_side, "product")
        path = f"/api-keys/{old['key_id']}/rotate"
        new = (await write_side.call("POST", path, json={"grace_s": grace_s})).body
        assert new["key_id"] == old["key_id"]
        await becomes(write_side, new["key"], "ok")
        await becomes(write_side, old["key"], told)
        assert (await register(write_side, new["key"])).status == 200


async def test_an_expired_key_is_refused(write_side: WriteSide) -> None:
    """Its end was stated when it was made; nobody has to remember to revoke it."""

    async def key_for(seconds: int) -> Any:
        expires_at = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
        body = {"name": "shop", "roles": ["product"], "expires_at": expires_at}
        answer = await write_side.call("POST", "/api-keys", json=body)
        assert answer.status == 201 or answer.code == "expired_already", answer
        return answer.body.get("key")

    await becomes(write_side, await eventually(lambda: key_for(3600)), "ok")
    await becomes(write_side, await eventually(lambda: key_for(1)), "expired_key")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"name": "x", "roles": []}, 422, "unknown_role"),
        ({"name": "x", "roles": ["baker"]}, 422, "unknown_role"),
        ({"name": "", "roles": ["product"]}, 422, "invalid"),
        ({"name": "x", "roles": ["product"], "expires_at": "2020-01-01T00:00:00Z"}, 422, "expired_already"),
        ({"name": "x", "roles": ["product"], "secret_sha256": "0" * 64}, 422, "invalid"),
        ({"name": "x", "roles": ["product"], "key_id": "abcdefghijkl"}, 422, "invalid"),
        ([], 422, "invalid"),
    ],
)
async def test_no_key_is_made_of_nonsense(write_side: WriteSide, body: Any, status: int, code: str) -> None:
    """Nor shown: a refusal must not hold a key."""
    answer = await write_side.call("POST", "/api-keys", json=body)
    assert (answer.status, answer.code) == (status, code)
    assert "key" not in answer.body


async def test_a_key_that_is_not_there_is_told_so(write_side: WriteSide) -> None:
    """A mistyped id must not look like success."""
    for method, path in (("DELETE", "/api-keys/zzzzzzzzzzzz"), ("POST", "/api-keys/zzzzzzzzzzzz/rotate")):
        answer = await write_side.call(method, path)
        assert (answer.status, answer.code) == (404, "unknown_key")


async def test_a_key_is_shown_once(write_side: WriteSide) -> None:
    """Whoever sends the request again learns that, instead of getting another key unawares."""
    headers = {"idempotency-key": uuid4().hex}
    body = {"name": "shop", "roles": ["product"]}
    assert (await write_side.call("POST", "/api-keys", json=body, headers=headers)).status == 201
    again = await write_side.call("POST", "/api-keys", json=body, headers=headers)
    assert (again.status, again.code) == (409, "key_shown_already")


async def test_a_key_of_another_tenant_works_within_that_tenant(write_side: WriteSide) -> None:
    """Two shops may have the same user ids and items, and must not meet."""
    answer = await write_side.call(
        "POST", "/api-keys", json={"name": "other", "roles": ["admin"]}, headers={"x-tenant": "b"}
    )
    key = answer.body["key"]
    await becomes(write_side, key, "ok")
    foreign = {"authorization": f"Bearer {key}"}
    item, user = await write_side.known_item(), uuid4().hex
    for headers in ({}, foreign):
        assert (await write_side.call("POST", "/users", json={"user_id": user}, headers=headers)).status == 200
    fact = {"user_id": user, "item_id": item, "kind": "view", "occurred_at": "2026-01-01T00:00:00Z"}
    assert (await write_side.call("POST", "/interactions", json=fact)).status == 201
    unknown = await write_side.call("POST", "/interactions", json=fact, headers=foreign)
    assert (unknown.status, unknown.code) == (422, "unknown_item")
    lines = await write_side.call(
        "POST", "/interactions/bulk", json=fact, headers={**foreign, "content-type": "application/x-ndjson"}
    )
    assert (lines.body["accepted"], lines.body["refused"]) == (0, 1)
    mine = await write_side.call("POST", "/users", json={"user_id": uuid4().hex})
    assert (await write_side.call("GET", f"/commands/{mine.body['command_id']}", headers=foreign)).status == 404
    theirs = await write_side.call(
        "POST", "/users", json={"user_id": uuid4().hex}, headers={**foreign, "x-tenant": "c"}
    )
    assert (theirs.status, theirs.code) == (403, "foreign_tenant")


async def test_the_same_idempotency_key_of_two_tenants_is_two(write_side: WriteSide) -> None:
    """One tenant must not be answered with what became of another's command."""
    body, key = {"user_id": uuid4().hex}, {"idempotency-key": uuid4().hex}
    first = await write_side.call("POST", "/users", json=body, headers=key)
    other = await write_side.call("POST", "/users", json=body, headers={**key, "x-tenant": "b"})
    assert (first.status, other.status) == (200, 200)
    assert first.body["command_id"] != other.body["command_id"]


async def test_secrets_are_nowhere_but_in_the_answer(
    write_side: WriteSide, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Logs are read by many, and the log of events is kept for ever."""
    caplog.set_level(logging.DEBUG)
    key = await made(write_side, "product")
    await becomes(write_side, key["key"], "ok")
    await register(write_side, key["key"][:-1] + "_")
    await register(write_side, f"{key['key']}x")
    await write_side.call("DELETE", f"/api-keys/{key['key_id']}")
    await becomes(write_side, key["key"], "revoked_key")
    secret, own = key["key"].split("_")[2], headers_of(write_side.settings)["Authorization"].split("_")[2]
    told = caplog.text + "".join(capsys.readouterr())
    assert told
    for one in (secret, own):
        assert one not in told
        assert one.encode() not in await everything(
            write_side, "access", "access.commands", "usage", "dead-letters", "profiles", "profiles.commands"
        )


async def test_the_use_of_a_key_is_put_on_record(write_side: WriteSide) -> None:
    """An admin sees which keys nobody needs any more; a request never waits for it."""
    key = await made(write_side, "product")
    await becomes(write_side, key["key"], "ok")

    async def times() -> int:
        return (await everything(write_side, "usage")).count(key["key_id"].encode())

    said = await eventually(times)
    for _ in range(5):
        await register(write_side, key["key"])
    await asyncio.sleep(1.5)
    assert await times() == said


async def test_keys_are_handled_from_the_command_line(write_side: WriteSide) -> None:
    """The key alone stands on standard output, so that it can be piped into a secret store."""

    async def retrace(*words: str) -> tuple[int, str, str]:
        port = int(write_side.url.rpartition(":")[2])
        settings = write_side.settings.model_copy(update={"commands": HttpSettings(port=port)})
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "console", "keys", *words),
            env=child_environment(settings) | {"PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        told, warned = await process.communicate()
        return process.returncode or 0, told.decode(), warned.decode()

    status, told, warned = await retrace("create", "shop", "--role", "product", "--expires-days", "1")
    assert (status, len(told.splitlines())) == (0, 1), warned
    key = parse(told.strip())
    await becomes(write_side, key.text, "ok")
    _, rotated, _ = await retrace("rotate", key.id, "--grace-s", "0")
    await becomes(write_side, key.text, "rotated_key")
    await becomes(write_side, parse(rotated.strip()).text, "ok")
    assert (await retrace("revoke", key.id))[0] == 0
    await becomes(write_side, parse(rotated.strip()).text, "revoked_key")
    status, told, warned = await retrace("create", "shop", "--role", "baker")
    assert (status, told) == (1, "")
    assert "there is no role 'baker'" in warned
