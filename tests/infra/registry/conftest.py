import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeAlias

import pytest
import uvicorn

from infra.health import Health
from infra.http import QuietServer, install, server_config
from infra.registry.log import SchemaLog
from infra.registry.server import create_app
from infra.settings import HttpSettings, Settings
from schemas.registry import Record, Registry

Replica: TypeAlias = Callable[[], AbstractAsyncContextManager[SchemaLog]]
Serve: TypeAlias = Callable[[], AbstractAsyncContextManager[str]]


class MemoryLog:
    """A log of one replica in memory, for what is about HTTP alone."""

    def __init__(self) -> None:
        self.registry = Registry()

    async def catch_up(self) -> Registry:
        return self.registry

    async def write(self, decide: Callable[[Registry], Sequence[Record]]) -> Registry:
        for record in decide(self.registry):
            self.registry.apply(record.key, record.value)
        return self.registry


@pytest.fixture
def memory_log() -> MemoryLog:
    return MemoryLog()


async def until(ready: Callable[[], bool], timeout_s: float = 60) -> None:
    async with asyncio.timeout(timeout_s):
        while not ready():
            await asyncio.sleep(0.02)


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    return until


@pytest.fixture
def replica(settings: Settings) -> Replica:
    """Starts one replica of the log, read to its end."""

    @asynccontextmanager
    async def start() -> AsyncIterator[SchemaLog]:
        schema_log = SchemaLog(settings, Health("registry"))
        await schema_log.start()
        try:
            await until(lambda: schema_log.health.ready)
            yield schema_log
        finally:
            await schema_log.stop()

    return start


@pytest.fixture
def serve(settings: Settings) -> Serve:
    """Starts one replica of the service on a free port, as `retrace serve registry` does."""

    @asynccontextmanager
    async def start() -> AsyncIterator[str]:
        health = Health("registry")
        app = create_app(settings, health)
        install(app, health)
        server = QuietServer(server_config(app, HttpSettings()))
        task = asyncio.create_task(server.serve())
        try:
            await until(lambda: server.started and health.ready)
            yield _address(server)
        finally:
            server.should_exit = True
            await task

    return start


def _address(server: uvicorn.Server) -> str:
    host, port = server.servers[0].sockets[0].getsockname()
    return f"http://{host}:{port}"
