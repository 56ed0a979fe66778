"""A write side in the process of the test, and how to talk to it."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from commands.api.app import create_app
from commands.processor import worker
from infra.health import Health
from infra.http import QuietServer, install, server_config
from infra.settings import HttpSettings, Settings

from ..calling import http_session
from ..eventually import eventually
from ..roles import running


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

    async def is_well(self) -> bool:
        """Whether it decides: after Kafka was hurt, or this process stood still, that takes a while."""
        answer = await self.call("POST", "/users", json={"user_id": uuid.uuid4().hex})
        return answer.status == 200

    async def known_item(self) -> str:
        """Add an item; returns its id."""
        item_id = uuid.uuid4().hex
        answer = await self.call("POST", "/items", json={"item_id": item_id, "title": "A film"})
        assert answer.status == 200, answer
        return item_id


async def is_registered(write_side: WriteSide, user: str) -> bool:
    """Whether somebody is; then they have preferences afterwards."""
    answer = await write_side.call("PUT", f"/users/{user}/preferences", json={}, headers={"if-match": "*"})
    return answer.status == 200


async def registered(write_side: WriteSide, user: str) -> None:
    """Wait until somebody is."""
    await eventually(lambda: is_registered(write_side, user), within_s=60, every_s=0.1)


def patient(settings: Settings) -> Settings:
    """With limits of time that a busy machine keeps: what is tested is what is answered, not when."""
    admission = settings.admission.model_copy(update={"stall_s": 60, "confirm_s": 60})
    return settings.model_copy(update={"answer_timeout_s": 60, "admission": admission})


@asynccontextmanager
async def open_write_side(settings: Settings) -> AsyncIterator[WriteSide]:
    """A processor and a command API, both patient."""
    settings = patient(settings)
    health = Health("commands")
    app = create_app(settings, health)
    install(app, health)
    server = QuietServer(server_config(app, HttpSettings()))
    async with running(worker.work, settings, "processor") as deciding:
        serving = asyncio.create_task(server.serve())
        try:
            async with asyncio.timeout(120):
                while not (server.started and health.ready and deciding.ready):
                    await asyncio.sleep(0.05)
            port = server.servers[0].sockets[0].getsockname()[1]
            async with http_session(settings) as http:
                yield WriteSide(settings, f"http://127.0.0.1:{port}", http)
        finally:
            server.should_exit = True
            await serving
