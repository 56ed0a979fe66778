"""The write side for real: a processor and the command API over the test servers, started once."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from confluent_kafka.admin import AdminClient

from commands.api.app import create_app
from commands.processor import worker
from infra.ending import ended
from infra.health import Health
from infra.http import QuietServer, install, server_config
from infra.kafka.connect import librdkafka_options
from infra.settings import HttpSettings, Settings
from infra.stack.stack import Stack, merged

from ..calling import http_session


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, read to its end."""

    status: int
    body: Any
    headers: dict[str, str]

    @property
    def code(self) -> str:
        """Code of a problem document."""
        assert self.headers["content-type"] == "application/problem+json", self
        return str(self.body["code"])


@dataclass(frozen=True)
class WriteSide:
    """A running command API and how to talk to it."""

    settings: Settings
    url: str
    http: aiohttp.ClientSession

    async def call(self, method: str, path: str, **options: Any) -> Answer:
        """Any request."""
        async with self.http.request(method, self.url + path, **options) as response:
            content = await response.read()
            is_json = "json" in response.headers.get("content-type", "")
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, (await response.json(content_type=None)) if is_json else content, headers)

    async def known_item(self) -> str:
        """Add an item; returns its id."""
        item_id = uuid.uuid4().hex
        answer = await self.call("POST", "/items", json={"item_id": item_id, "title": "A film"})
        assert answer.status == 200, answer
        return item_id


@pytest.fixture(scope="session")
def corner(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Topics that the command tests share."""
    mark = f"c{uuid.uuid4().hex[:10]}"
    parts = {"topic_prefix": f"{mark}.", "postgres": {"db_schema": mark}, "kafka": {"partitions": 2}}
    parts["processor"] = {"snapshots": tmp_path_factory.mktemp("snapshots")}
    parts["personal"] = {"keys": tmp_path_factory.mktemp("personal")}
    mine = Settings(
        **merged(stack.settings.model_dump(exclude_unset=True), parts), max_body_bytes=20_000, max_bulk_bytes=2_000_000
    )
    yield mine
    admin = AdminClient(librdkafka_options(mine.kafka) | {"log_level": 0})
    admin.delete_topics([name for name in admin.list_topics(timeout=10).topics if name.startswith(mine.topic_prefix)])
    admin.poll(0)


@pytest.fixture(scope="session")
async def write_side(corner: Settings) -> AsyncIterator[WriteSide]:
    """A processor and a command API."""
    health = Health("commands")
    app = create_app(corner, health)
    install(app, health)
    server = QuietServer(server_config(app, HttpSettings()))
    tasks = [asyncio.create_task(worker.work(corner, Health("processor"))), asyncio.create_task(server.serve())]
    try:
        async with asyncio.timeout(60):
            while not (server.started and health.ready):
                await asyncio.sleep(0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        async with http_session(corner) as http:
            yield WriteSide(corner, f"http://127.0.0.1:{port}", http)
    finally:
        server.should_exit = True
        await tasks[1]
        await ended(tasks[0])
