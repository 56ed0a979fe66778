"""A small catalogue in the log, and the query API over it, for the tests of the searches."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaProducer

from infra.health import Health
from infra.http import QuietServer, install, server_config
from infra.kafka.connect import aiokafka_options
from infra.kafka.records import Decoder
from infra.settings import HttpSettings, Settings
from projections.api import create_app
from schemas.catalog import ItemAdded

from ..calling import http_session
from ..eventually import eventually
from .conftest import Get
from .telling import Decided

FILMS = (
    ("f1", "Toy Story (1995)", "A cowboy doll fears a new space ranger", ["Animation", "Comedy"], {"year": "1995"}),
    ("f2", "The Godfather (1972)", "A mafia patriarch hands his empire to his son", ["Drama"], {"year": "1972"}),
    ("f3", "Amélie (2001)", "A shy waitress in Paris changes lives", ["Comedy", "Romance"], {"year": "2001"}),
    ("f4", "Alien (1979)", "A creature hunts the crew of a spaceship", ["Horror"], {"year": "1979", "tone": "dark"}),
    ("f5", "Toy Soldiers (1991)", "Students resist armed men in their school", ["Drama"], {"year": "1991"}),
    ("f6", "Speed (1994)", "A bus must not slow down or it explodes", ["Action"], {"year": "1994"}),
)


def film(item_id: str, title: str, text: str, categories: Sequence[str], attributes: Mapping[str, str]) -> ItemAdded:
    """An item."""
    return ItemAdded(
        item_id=item_id, title=title, description=text, categories=tuple(categories), attributes=dict(attributes)
    )


@asynccontextmanager
async def decided(settings: Settings, decoder: Decoder) -> AsyncIterator[Decided]:
    """A writer of decided topics."""
    producer = AIOKafkaProducer(**aiokafka_options(settings.kafka))
    await producer.start()
    try:
        yield Decided(settings, decoder, producer)
    finally:
        await producer.stop()


@asynccontextmanager
async def querying(settings: Settings) -> AsyncIterator[Get]:
    """The query API in this process; asks it, and answers status, document and headers."""
    health = Health("queries")
    app = create_app(settings, health)
    install(app, health)
    server = QuietServer(server_config(app, HttpSettings()))
    task = asyncio.create_task(server.serve())

    async def started() -> bool:
        return bool(server.started)

    await eventually(started)
    port = server.servers[0].sockets[0].getsockname()[1]

    async def ask(path: str, **params: Any) -> tuple[int, Any, dict[str, str]]:
        given = {name.replace("_position", "-position"): value for name, value in params.items()}
        async with session.get(f"http://127.0.0.1:{port}{path}", params=given) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            return response.status, await response.json(content_type=None), headers

    async with http_session(settings) as session:
        yield ask
    server.should_exit = True
    await task


def ids(document: Mapping[str, Any]) -> list[str]:
    """Which items were found, in their order."""
    return [item["item_id"] for item in document["items"]]
