"""Uploads to a command API that is a process of its own: its memory is bounded, and it may be killed."""

import asyncio
import contextlib
import io
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from infra.access.client import headers_of
from infra.kafka.ranges import ranges_now
from infra.kafka.replay import recorded
from infra.registry.enlist import open_decoder
from infra.settings import child_environment
from infra.stack.ports import is_free

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

NDJSON = {"content-type": "application/x-ndjson"}
LINE = b'{"user_id": "%s-%07d", "item_id": "%s", "kind": "view", "occurred_at": "2026-03-01T12:00:00Z"}\n'
LARGE = 100_000_000
MOST_KB = 300 * 1024


class Api:
    """A command API as a process."""

    def __init__(self, settings: Any) -> None:
        self.port = next(number for number in range(31_100, 31_900) if is_free(number))
        self.url = f"http://127.0.0.1:{self.port}/interactions/bulk"
        self._environment = child_environment(settings) | {
            "RETRACE_COMMANDS__PORT": str(self.port),
            "RETRACE_MAX_BULK_BYTES": str(10 * LARGE),
        }
        self.http = aiohttp.ClientSession(
            headers=headers_of(settings) | NDJSON, timeout=aiohttp.ClientTimeout(total=600)
        )

    async def start(self) -> None:
        """Until it is ready."""
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "console", "serve", "commands"),
            env=self._environment,
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with self.http.get(f"http://127.0.0.1:{self.port}/health/ready") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.2)

    @property
    def most_memory_kb(self) -> int:
        """The most that was resident at any time."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

    async def progress(self, upload_id: str) -> dict[str, Any]:
        """How far an upload is durable."""
        async with self.http.get(f"{self.url}/{upload_id}") as answer:
            told: dict[str, Any] = await answer.json(content_type=None)
            return told if answer.status == 200 else {}


@pytest.fixture
async def api(write_side: Any) -> AsyncIterator[Api]:
    """Running."""
    api = Api(write_side.settings)
    await api.start()
    yield api
    with contextlib.suppress(ProcessLookupError):
        api.process.kill()
    await api.process.wait()
    await api.http.close()


def lines(mark: str, item_id: str, first: int, count: int) -> bytes:
    return b"".join(LINE % (mark.encode(), first + n, item_id.encode()) for n in range(count))


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
async def test_a_large_upload_takes_little_memory(write_side: Any, api: Api) -> None:
    """The body streams through: a file that is larger than the memory is taken all the same."""
    mark, item_id = uuid.uuid4().hex[:8], await write_side.known_item()
    count = LARGE // len(lines(mark, item_id, 0, 1))

    async def body() -> AsyncIterator[bytes]:
        for first in range(0, count, 5000):
            yield lines(mark, item_id, first, min(5000, count - first))

    async with api.http.post(api.url, data=body(), headers={"upload-id": f"large-{mark}"}) as answer:
        told = await answer.json(content_type=None)
    assert (answer.status, told["accepted"], told["refused"]) == (200, count, 0), told
    assert api.most_memory_kb < MOST_KB


async def test_an_upload_outlives_the_process_that_took_it(write_side: Any, api: Api) -> None:
    """Killed with -9 in the middle; the next process knows from the log how far it was, and nothing counts twice."""
    mark, item_id = f"k{uuid.uuid4().hex[:8]}", await write_side.known_item()
    upload_id, whole = f"kill-{mark}", lines(mark, item_id, 0, 60_000)

    stalled = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield whole[: len(whole) // 2]
        await stalled.wait()

    sending = asyncio.create_task(api.http.post(api.url, data=body(), headers={"upload-id": upload_id}).__aenter__())
    async with asyncio.timeout(60):
        while not (await api.progress(upload_id)).get("confirmed_bytes"):
            await asyncio.sleep(0.1)
    api.process.kill()
    await api.process.wait()
    with pytest.raises(aiohttp.ClientError):
        await sending
    await api.start()
    before = await api.progress(upload_id)
    assert before["state"] == "interrupted"
    assert 0 < before["confirmed_bytes"] <= len(whole) // 2
    async with api.http.post(api.url, data=io.BytesIO(whole), headers={"upload-id": upload_id}) as answer:
        told = await answer.json(content_type=None)
    assert (answer.status, told["accepted"]) == (200, 60_000), told
    ids, users = await on_record(write_side, mark)
    assert len(users) == 60_000
    assert len(ids) == 60_000, "a line that is on record twice has the same id, and counts once"


async def on_record(write_side: Any, mark: str) -> tuple[set[str], set[str]]:
    """Distinct ids and users of the events of one test."""
    decoder = await open_decoder(write_side.settings)
    ranges = await ranges_now(write_side.settings, ["interactions"])
    found = [one async for one in recorded(write_side.settings, decoder, ranges)]
    mine = [one for one in found if getattr(one.event, "user_id", "").startswith(mark)]
    return {str(one.meta.id) for one in mine}, {one.event.user_id for one in mine}
