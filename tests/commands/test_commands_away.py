"""When Kafka is away, nobody is told that a command was taken."""

import asyncio
import socket

import aiohttp
import pytest
from aiokafka import AIOKafkaProducer
from pydantic import SecretStr

from commands.api.app import create_app
from infra.access.client import headers_of
from infra.access.key import new_key
from infra.health import Health
from infra.http import QuietServer, install, server_config
from infra.kafka.decided import KafkaLog, batch_producer
from infra.settings import AccessSettings, HttpSettings, KafkaSettings, RegistrySettings, Settings
from schemas.errors import Unavailable
from schemas.topics import TOPICS


@pytest.fixture
def nowhere() -> Settings:
    """Settings that lead to ports where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    key = new_key()
    return Settings(
        kafka=KafkaSettings(bootstrap=f"127.0.0.1:{port}"),
        registry=RegistrySettings(url=f"http://127.0.0.1:{port}"),
        access=AccessSettings(key=SecretStr(key.text), admin_hash=key.sha256),
    )


async def test_the_api_says_503_and_why(nowhere: Settings) -> None:
    """A client can try again later; it cannot know of a command that vanished."""
    health = Health("commands")
    app = create_app(nowhere, health)
    install(app, health)
    server = QuietServer(server_config(app, HttpSettings()))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.02)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    async with aiohttp.ClientSession(headers=headers_of(nowhere)) as http:
        async with http.post(f"{url}/users", json={"user_id": "u"}) as answer:
            problem = await answer.json(content_type=None)
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert problem["code"] == "unavailable"
        async with http.get(f"{url}/health/ready") as answer:
            assert answer.status == 503
            assert (await answer.json())["components"]["tail"]["cause"]
    server.should_exit = True
    await task


async def test_a_partition_that_cannot_be_read_says_so(nowhere: Settings) -> None:
    """The processor turns this into red health and tries again."""
    producer: AIOKafkaProducer = batch_producer(nowhere)
    log = KafkaLog(nowhere, producer, TOPICS["profiles"], 0, timeout_s=2)
    with pytest.raises(Unavailable, match="does not let"):
        await log.read(0)
    await producer.stop()
