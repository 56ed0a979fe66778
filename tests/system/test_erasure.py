"""A person's name is in no file of any store at any time, and when they are erased nothing can bring it back."""

import asyncio
import base64
import contextlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition
from elasticsearch import Elasticsearch

from console.api import Api
from inference.datasets.dataset import build, fixed_ranges
from infra.kafka.connect import librdkafka_options
from infra.kafka.records import from_librdkafka
from infra.personal.keys import Keys
from infra.personal.seal import Person
from infra.registry.enlist import open_decoder
from infra.settings import Settings, child_environment
from infra.stack.stack import Stack
from projections.rebuild import verify
from projections.runner import declared
from schemas.errors import Problem

pytestmark = pytest.mark.long

PATIENCE_S = 90.0
PIECE_BYTES = 16 * 2**20


def forms(text: str) -> dict[str, bytes]:
    """The ways in which a text may stand in a file: as bytes, and in the encodings that programs like."""
    raw = text.encode()
    found = {
        "utf-8": raw,
        "utf-16": text.encode("utf-16-le"),
        "hex": raw.hex().encode(),
        "HEX": raw.hex().upper().encode(),
    }
    for shift in range(3):  # where it stands among the three bytes of a group
        whole = base64.b64encode(b"\0" * shift + raw)
        found[f"base64 at {shift}"] = whole[4 if shift else 0 : -4]
    return found


def files(roots: Iterable[Path]) -> Iterator[Path]:
    """Every file; what a server removes meanwhile is passed over.

    So are Kafka's indices of offsets and times: numbers, in ten megabytes of nothing for each.
    """
    for root in roots:
        for folder, _, names in os.walk(root):
            paths = (Path(folder, name) for name in names if not name.endswith((".index", ".timeindex")))
            yield from (path for path in paths if path.is_file() and not path.is_symlink())


def holding(roots: Iterable[Path], wanted: dict[str, bytes]) -> dict[str, list[str]]:
    """Files that hold one of these byte strings, and which of them."""
    found: dict[str, list[str]] = {}
    for path in files(roots):
        shown: set[str] = set()
        with contextlib.suppress(FileNotFoundError):  # gone meanwhile
            for piece in pieces(path, overlap=max(map(len, wanted.values()))):
                shown |= {name for name, form in wanted.items() if form in piece}
        if shown:
            found[str(path)] = sorted(shown)
    return found


def pieces(path: Path, *, overlap: int) -> Iterator[bytes]:
    """The content of a file; what lies across the border of two pieces is whole in the second."""
    with path.open("rb") as file:
        before = b""
        while read := file.read(PIECE_BYTES):
            yield before + read
            before = read[-overlap:]


def records(settings: Settings) -> list[tuple[str, bytes]]:
    """Every record of our topics, headers and all, as the broker hands it out: decompressed."""
    consumer = Consumer({**librdkafka_options(settings.kafka), "group.id": "unused", "enable.auto.commit": False})
    try:
        topics = consumer.list_topics(timeout=60).topics
        ours = [
            TopicPartition(name, number)
            for name, topic in topics.items()
            if name.startswith(settings.topic_prefix)
            for number in topic.partitions
        ]
        ends = {(at.topic, at.partition): consumer.get_watermark_offsets(at, timeout=60)[1] for at in ours}
        consumer.assign([TopicPartition(at.topic, at.partition, 0) for at in ours])
        left, found = {at for at, end in ends.items() if end}, list[tuple[str, bytes]]()
        until = time.monotonic() + 90
        while left and time.monotonic() < until:
            for message in consumer.consume(1000, timeout=0.5):
                raw = from_librdkafka(message, settings.topic_prefix)
                headers = b"".join(value or b"" for _, value in raw.headers)
                found.append((raw.topic.name, raw.key.encode() + (raw.value or b"") + headers))
                at = (f"{settings.topic_prefix}{raw.topic.name}", raw.partition)
                if raw.offset + 1 >= ends[at]:
                    left.discard(at)
        assert not left, f"not read to the end: {left}"
        return found
    finally:
        consumer.close()


def rows(settings: Settings) -> dict[str, str]:
    """Every table of ours, as text."""
    schema = settings.postgres.db_schema
    with psycopg.connect(settings.postgres.dsn.get_secret_value(), autocommit=True) as connection:
        names = [
            row[0] for row in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema])
        ]
        return {
            name: repr(connection.execute(f'SELECT * FROM "{schema}"."{name}"'.encode()).fetchall()) for name in names
        }


def documents(settings: Settings) -> str:
    """Every document of ours, as text."""
    with Elasticsearch(settings.elastic.url, request_timeout=60) as client:
        client.indices.refresh(index=f"{settings.elastic.index_prefix}*")
        answer = client.search(index=f"{settings.elastic.index_prefix}*", size=5000)
        assert answer["hits"]["total"]["value"] < 5000
        return repr(answer["hits"]["hits"])


def to_disk(settings: Settings) -> None:
    """Let every store write what it holds in memory."""
    with psycopg.connect(settings.postgres.dsn.get_secret_value(), autocommit=True) as connection:
        connection.execute("CHECKPOINT")
        connection.execute("SELECT pg_switch_wal()")
    with Elasticsearch(settings.elastic.url, request_timeout=60) as client:
        client.indices.flush(index=f"{settings.elastic.index_prefix}*")


def nowhere(settings: Settings, roots: Iterable[Path], secret: str) -> None:
    """Find a text in no file, and in nothing that a store hands out."""
    wanted = forms(secret)
    to_disk(settings)
    assert holding(roots, wanted) == {}
    shown = [topic for topic, record in records(settings) if any(form in record for form in wanted.values())]
    assert shown == []
    assert [name for name, text in rows(settings).items() if secret in text] == []
    assert secret not in documents(settings)


def exported(settings: Settings, folder: Path) -> None:
    """A replay export of profiles and of what is scheduled, as an analyst makes it."""
    for topic in ("profiles", "schedules"):
        command = [sys.executable, "-m", "console", "replay", "--topic", topic]
        out = folder / f"{topic}.jsonl"
        subprocess.run(
            [*command, "--out", str(out), "--format", "jsonl"],
            env=child_environment(settings),
            check=True,
            capture_output=True,
            timeout=180,
        )
        assert out.stat().st_size


async def eventually(what: Callable[[], Awaitable[Any]]) -> Any:
    """The first true answer; what is not there yet, or not any more, is asked again."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(Problem):
                if found := await what():
                    return found
            await asyncio.sleep(0.2)


async def status_of(call: Callable[[], Awaitable[Any]]) -> tuple[int, str]:
    try:
        await call()
    except Problem as problem:
        return problem.status, problem.code
    return 200, ""


@pytest.mark.timeout(600)
async def test_what_describes_a_person_is_in_no_file_before_and_after_the_erasure(
    stack: Stack, services: Stack, tmp_path: Path
) -> None:
    """The whole way through every service and store; the search has to find what is there, or it proves nothing."""
    settings = services.settings
    user_id, secret = f"person-{uuid.uuid4().hex}", f"Zoë{uuid.uuid4().hex}"
    roots = (stack.data_dir, tmp_path)
    async with Api(settings, actor="test") as api:
        await lived(api, user_id, secret)

        async def seen() -> bool:
            profile = (await api.query(f"/users/{user_id}")).body
            assert (profile["name"], profile["attributes"]) == (secret, {secret: secret})
            return len((await api.query(f"/users/{user_id}/history")).body["interactions"]) == 3

        await eventually(seen)
        (tmp_path / "exports").mkdir()
        exported(settings, tmp_path / "exports")
        nowhere(settings, roots, secret)
        control = holding(roots, {"id": user_id.encode()})
        assert {"kafka", "postgres", "exports"} <= {part for path in control for part in Path(path).parts}
        (key_file,) = (path for path in (settings.key_folder / "keys").rglob("*") if path.is_file())
        wrapped = key_file.read_bytes()[24:]

        services.kill("eraser")
        erased = await api.command("POST", f"/users/{user_id}/erase", {"reason": "request 7"})
        assert await Keys(settings).of(Person(settings.tenant, user_id)) is not None, "nobody is there to destroy it"
        services.up(["eraser"])
        await eventually(lambda: reported(api, user_id, erased.position))

        nowhere(settings, roots, secret)
        assert not key_file.exists()
        assert (
            holding(roots, {"key": wrapped, "hex": wrapped.hex().encode(), "base64": base64.b64encode(wrapped)}) == {}
        )
        await gone_everywhere(api, user_id)
    for name, text in rows(settings).items():
        assert user_id not in text or name in KEEP_THE_ID, name
    decoder = await open_decoder(settings)
    dataset = await build(settings, decoder, await fixed_ranges(settings, ()))
    assert (dataset.manifest.erased_users, set(dataset.rows["user_id"])) == (1, {"somebody-else"})
    for projection in declared():
        comparison = await verify(settings, projection)
        assert comparison.equal, comparison


KEEP_THE_ID = {"erased_people", "projection_erasures", "command_log_v1", "schedules_v1", "popularity_v1_seen"}
"""Who was erased, what was done about it, and what must not count twice: an id, and nothing that describes anybody."""


async def lived(api: Api, user_id: str, secret: str) -> None:
    """Everything a person can do here."""
    body = {"user_id": user_id, "name": secret, "attributes": {secret: secret}}
    await api.command("POST", "/users", body, key=f"register-{user_id}")
    await api.command("POST", "/users", body, key=f"register-{user_id}")
    assert await status_of(lambda: api.command("POST", "/users", body)) == (409, "already_registered")
    assert (await status_of(lambda: api.command("POST", "/users", {"user_id": user_id, "nam": secret})))[0] == 422
    later = {
        "due_at": (datetime.now(UTC) + timedelta(days=9)).isoformat(),
        "command_type": "RegisterUser",
        "data": body,
    }
    await api.command("POST", "/schedules", later)
    await api.command("PUT", f"/users/{user_id}/preferences", {"language": "pt"})
    for number in range(3):
        await api.command("POST", "/items", {"item_id": f"i{number}", "title": f"Film {number}"})
        for who in (user_id, "somebody-else"):
            did = {"user_id": who, "item_id": f"i{number}", "kind": "view", "occurred_at": "2026-01-01T00:00:00Z"}
            await api.command("POST", "/interactions", did, key=f"{who}-{number}")
    await api.recommend(user_id, model="movies")


async def reported(api: Api, user_id: str, position: str) -> bool:
    """Whether the log says that the erasure is complete."""
    found = (
        await api.query("/events/search", {"user_id": user_id, "type": "retrace.profiles.PersonalDataDestroyed"})
    ).body
    return bool(found["events"])


async def gone_everywhere(api: Api, user_id: str) -> None:
    """Every service says the same."""
    gone = (410, "erased_user")
    for path in ("", "/history", "/decisions"):
        assert await status_of(lambda path=path: api.query(f"/users/{user_id}{path}")) == gone  # type: ignore[misc]
    did = {"user_id": user_id, "item_id": "i0", "kind": "view", "occurred_at": "2026-01-01T00:00:00Z"}
    for method, path, body in (
        ("POST", "/users", {"user_id": user_id, "name": "again"}),
        ("PUT", f"/users/{user_id}/preferences", {"language": "de"}),
        ("POST", "/interactions", did),
    ):
        call = api.command(method, path, body)
        assert await status_of(lambda call=call: call) == gone  # type: ignore[misc]
    assert await status_of(lambda: api.recommend(user_id, model="movies")) == gone
    found = (await api.query("/decisions/search", {"user_id": user_id})).body
    assert found["total"] == 0


def test_the_search_finds_what_it_should(tmp_path: Path) -> None:
    """Each form, wherever it stands in a file."""
    secret = f"Zoë{uuid.uuid4().hex}"
    wanted = forms(secret)
    for shift in range(4):
        content = b"x" * shift + secret.encode() + b"yz"
        (tmp_path / "plain").write_bytes(content)
        (tmp_path / "coded").write_bytes(base64.b64encode(content))
        (tmp_path / "wide").write_bytes(b"x" * shift + secret.encode("utf-16-le"))
        (tmp_path / "hex").write_text(content.hex())
        assert {Path(path).name for path in holding([tmp_path], wanted)} == {"plain", "coded", "wide", "hex"}
