"""Fixtures of the read side: its database, a projector, the query API."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from infra.health import Health
from infra.http import QuietServer, install, server_config
from infra.kafka.facts import FactWriter
from infra.kafka.records import Decoder
from infra.postgres import connect
from infra.registry.enlist import open_decoder
from infra.settings import HttpSettings, Settings
from projections import checkpoint, runner, swap
from projections.api import create_app
from projections.view import Projection
from projections.views import popularity, user_history

from ..calling import http_session
from ..eventually import eventually
from .rebuilding import Database, append, reached
from .running import Running, StartProjector


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests use the same database, and an exchange of tables waits for whoever reads there."""
    monkeypatch.setattr(swap, "PATIENCE_S", 60.0)


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[AsyncConnection[DictRow]]:
    async with await connect(settings, "tests") as connection:
        await connection.execute("SET synchronous_commit = off")
        await checkpoint.prepare(connection, settings.postgres.db_schema)
        yield connection


@pytest.fixture
async def decoder(settings: Settings) -> Decoder:
    return await open_decoder(settings)


@pytest.fixture
async def writer(settings: Settings, decoder: Decoder) -> AsyncIterator[FactWriter]:
    async with FactWriter(settings, decoder.codec, timeout_s=60) as opened:
        yield opened


@pytest.fixture
async def projector(settings: Settings, decoder: Decoder) -> AsyncIterator[StartProjector]:
    """Starts projectors; those still running at the end are stopped."""
    started: list[Running] = []

    def start(*projections: Projection) -> Running:
        health = Health("projector")
        task = asyncio.create_task(runner.run(settings, health, projections or runner.declared()))
        started.append(Running(health, task))
        return started[-1]

    yield start
    for running in started:
        await running.stop()


@pytest.fixture
async def filled(database: Database, writer: FactWriter, projector: StartProjector) -> Running:
    """A projector that has folded 2 000 interactions and goes on."""
    await append(writer, 2_000)
    running = projector(user_history.VIEW, popularity.VIEW)
    await reached(database, user_history.VIEW, 2_000)
    await reached(database, popularity.VIEW, 2_000)
    return running


Get = Callable[..., Coroutine[Any, Any, tuple[int, Any, dict[str, str]]]]


@pytest.fixture
async def query_url(settings: Settings) -> AsyncIterator[str]:
    """Where the query API listens."""
    health = Health("queries")
    app = create_app(settings, health)
    install(app, health)
    server = QuietServer(server_config(app, HttpSettings()))
    task = asyncio.create_task(server.serve())
    await eventually(lambda: _started(server))
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await task


@pytest.fixture
async def get(settings: Settings, query_url: str) -> AsyncIterator[Get]:
    """Asks the query API; answers status, document and headers."""

    async def ask(path: str, **params: Any) -> tuple[int, Any, dict[str, str]]:
        async with session.get(query_url + path, params=params) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            return response.status, await response.json(content_type=None), headers

    async with http_session(settings) as session:
        yield ask


async def _started(server: QuietServer) -> bool:
    return bool(server.started)
